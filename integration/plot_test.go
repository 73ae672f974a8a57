// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package integration_test

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

// A plot is the picture of BenchmarkInFlight: for each server the rate above, the
// round trip below, both against the octets in flight, on logarithmic scales.
type plot struct {
	columns []plotColumn
}

type plotColumn struct {
	title  string
	series []plotSeries
	rate   float64       // of a tunnel, in octets per second
	trip   time.Duration // of a small message beside it
}

type plotSeries struct {
	name   string
	points []plotPoint
}

type plotPoint struct {
	inFlight float64 // octets
	rate     float64 // octets per second
	trip     time.Duration
}

// Sizes in pixels of a panel and of what is around it.
const (
	panelWidth, panelHeight = 340, 220
	marginLeft, marginTop   = 64, 56
	gapX, gapY              = 84, 60
	marginRight             = 24
	marginBottom            = 84 // with one row of the legend
	legendRow               = 20
)

// plotStyle follows the colours of whoever looks at it, on a ground of its own: text
// stays readable on a dark page even if the viewer does not say that it is dark.
const plotStyle = `<style>
text{font:13px sans-serif;fill:#24292f}.title{font-weight:bold}.ground{fill:#fff}
.grid{stroke:#d0d7de;stroke-width:1}.frame{fill:none;stroke:#57606a}
.line{fill:none;stroke-width:2}.tunnel{stroke:#24292f;stroke-width:2;stroke-dasharray:6 4}
.s0{stroke:#0969da;color:#0969da}.s1{stroke:#bc4c00;color:#bc4c00}.s2{stroke:#1a7f37;color:#1a7f37}.s3{stroke:#8250df;color:#8250df}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.ground{fill:#0d1117}.grid{stroke:#30363d}.frame{stroke:#8b949e}.tunnel{stroke:#e6edf3}
.s0{stroke:#58a6ff}.s1{stroke:#f0883e}.s2{stroke:#3fb950}.s3{stroke:#bc8cff}}
</style>
`

// svg draws the plot.
func (p *plot) svg() []byte {
	width := marginLeft + len(p.columns)*panelWidth + (len(p.columns)-1)*gapX + marginRight
	legend := p.legend(width - marginLeft - marginRight)
	bottom := marginTop + 2*panelHeight + gapY // of the panels
	height := bottom + marginBottom + (len(legend)-1)*legendRow
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="Rate and round trip against octets in flight">`+"\n",
		width, height, width, height)
	b.WriteString(plotStyle)
	fmt.Fprintf(&b, `<rect class="ground" width="%d" height="%d"/>`+"\n", width, height)
	all := p.panels()
	for i, pair := range all {
		left := float64(marginLeft + i*(panelWidth+gapX))
		text(&b, left+panelWidth/2, 22, "middle", "title", p.columns[i].title)
		pair[0].draw(&b, left, marginTop)
		pair[1].draw(&b, left, marginTop+panelHeight+gapY)
		text(&b, left+panelWidth/2, float64(bottom+36), "middle", "", "octets in flight")
	}
	drawLegend(&b, legend, bottom+68)
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// panels returns the two panels of each column. Those beside each other have the same
// scales.
func (p *plot) panels() [][2]panel {
	x, rate, trip := newScale(), newScale(), newScale()
	for _, c := range p.columns {
		rate.include(c.rate)
		trip.include(c.trip.Seconds())
		for _, s := range c.series {
			for _, at := range s.points {
				x.include(at.inFlight)
				rate.include(at.rate)
				trip.include(at.trip.Seconds())
			}
		}
	}
	var all [][2]panel
	for _, c := range p.columns {
		rates := panel{title: "rate per second", x: x, y: rate, level: c.rate, tick: octets}
		trips := panel{title: "time until an answer", x: x, y: trip, level: c.trip.Seconds(), tick: seconds}
		for _, s := range c.series {
			var r, t [][2]float64
			for _, at := range s.points {
				r = append(r, [2]float64{at.inFlight, at.rate})
				t = append(t, [2]float64{at.inFlight, at.trip.Seconds()})
			}
			rates.lines, trips.lines = append(rates.lines, r), append(trips.lines, t)
		}
		all = append(all, [2]panel{rates, trips})
	}
	return all
}

// A legendEntry names a line.
type legendEntry struct{ class, name string }

func (e legendEntry) width() int { return 44 + 7*len(e.name) }

// legend names the lines, which are those of the first column, in rows that fit into width.
func (p *plot) legend(width int) [][]legendEntry {
	var all []legendEntry
	for i, s := range p.columns[0].series {
		all = append(all, legendEntry{fmt.Sprintf("line s%d", i), s.name})
	}
	all = append(all, legendEntry{"tunnel", "xtls"})
	rows := [][]legendEntry{nil}
	used := 0
	for _, e := range all {
		if used += e.width(); used > width && used > e.width() {
			rows, used = append(rows, nil), e.width()
		}
		rows[len(rows)-1] = append(rows[len(rows)-1], e)
	}
	return rows
}

// drawLegend draws the rows, the first one at y.
func drawLegend(b *bytes.Buffer, rows [][]legendEntry, y int) {
	for _, row := range rows {
		x := marginLeft
		for _, e := range row {
			fmt.Fprintf(b, `<line class="%s" x1="%d" y1="%d" x2="%d" y2="%d"/>`+"\n", e.class, x, y-4, x+22, y-4)
			text(b, float64(x+28), float64(y), "start", "", e.name)
			x += e.width()
		}
		y += legendRow
	}
}

// A panel is one diagram.
type panel struct {
	title string
	x, y  scale
	lines [][][2]float64
	level float64 // of the tunnel
	tick  func(v float64) string
}

// draw draws the panel with its upper left corner at left, top.
func (p panel) draw(b *bytes.Buffer, left, top float64) {
	px := func(v float64) float64 { return left + panelWidth*p.x.place(v) }
	py := func(v float64) float64 { return top + panelHeight*(1-p.y.place(v)) }
	text(b, left, top-8, "start", "", p.title)
	for _, v := range p.x.ticks(4) {
		fmt.Fprintf(b, `<line class="grid" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`+"\n", px(v), top, px(v), top+panelHeight)
		text(b, px(v), top+panelHeight+17, "middle", "", kibi(v))
	}
	for _, v := range p.y.ticks(10) {
		fmt.Fprintf(b, `<line class="grid" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`+"\n", left, py(v), left+panelWidth, py(v))
		text(b, left-6, py(v)+4, "end", "", p.tick(v))
	}
	fmt.Fprintf(b, `<rect class="frame" x="%.1f" y="%.1f" width="%d" height="%d"/>`+"\n", left, top, panelWidth, panelHeight)
	for i, line := range p.lines {
		var points []string
		for _, at := range line {
			points = append(points, fmt.Sprintf("%.1f,%.1f", px(at[0]), py(at[1])))
		}
		fmt.Fprintf(b, `<polyline class="line s%d" points="%s"/>`+"\n", i, strings.Join(points, " "))
	}
	fmt.Fprintf(b, `<line class="tunnel" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`+"\n", left, py(p.level), left+panelWidth, py(p.level))
}

// A scale is logarithmic, from low to high.
type scale struct{ low, high float64 }

func newScale() scale { return scale{math.Inf(1), 0} }

// include widens the scale. What is not positive has no place on it.
func (s *scale) include(v float64) {
	if v > 0 {
		s.low, s.high = min(s.low, v), max(s.high, v)
	}
}

// edges are those of the scale with some room around it.
func (s scale) edges() (low, high float64) {
	if s.high == 0 {
		return 1, 10
	}
	return s.low / 1.3, s.high * 1.3
}

// place is where v is, from 0 to 1.
func (s scale) place(v float64) float64 {
	low, high := s.edges()
	return math.Log(max(low, min(high, v))/low) / math.Log(high/low)
}

// ticks are the powers of base within the scale.
func (s scale) ticks(base float64) (all []float64) {
	low, high := s.edges()
	for v := math.Pow(base, math.Ceil(math.Log(low)/math.Log(base)-1e-9)); v <= high; v *= base {
		all = append(all, v)
	}
	return all
}

// octets, kibi and seconds write values as people read them.
func octets(v float64) string {
	return unit(v, 1000, "B", "kB", "MB", "GB")
}

func kibi(v float64) string {
	return unit(v, 1024, "B", "KiB", "MiB", "GiB")
}

func seconds(v float64) string {
	return unit(v*1e6, 1000, "µs", "ms", "s", "ks")
}

func unit(v, step float64, names ...string) string {
	i := 0
	for v >= step*0.999 && i < len(names)-1 {
		v /= step
		i++
	}
	return fmt.Sprintf("%.4g %s", v, names[i])
}

// text writes words at a place.
func text(b *bytes.Buffer, x, y float64, anchor, class, words string) {
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="%s" class="%s">%s</text>`+"\n", x, y, anchor, class, words)
}

// TestPlot: the picture is well-formed, everything is within it, and it shows each
// line, also of values that have no place on a logarithmic scale.
func TestPlot(t *testing.T) {
	var p plot
	for i := range 2 {
		c := plotColumn{title: fmt.Sprintf("server %d", i), rate: 1e6, trip: time.Millisecond}
		for _, name := range []string{"one", "two"} {
			s := plotSeries{name: name}
			for n := range 6 {
				s.points = append(s.points, plotPoint{float64(int(1024) << (2 * n)), 1e5 * float64(n), time.Duration(n) * time.Second})
			}
			c.series = append(c.series, s)
		}
		p.columns = append(p.columns, c)
	}
	var shown struct {
		Width  float64 `xml:"width,attr"`
		Height float64 `xml:"height,attr"`
		Lines  []struct {
			Points string `xml:"points,attr"`
		} `xml:"polyline"`
		Text []struct {
			X     float64 `xml:"x,attr"`
			Y     float64 `xml:"y,attr"`
			Words string  `xml:",chardata"`
		} `xml:"text"`
	}
	if err := xml.Unmarshal(p.svg(), &shown); err != nil {
		t.Fatal(err)
	}
	within := func(x, y float64) bool { return x >= 0 && x <= shown.Width && y >= 0 && y <= shown.Height }
	if len(shown.Lines) != 8 {
		t.Errorf("%d lines, want two in each of four panels", len(shown.Lines))
	}
	for _, line := range shown.Lines {
		points := strings.Fields(line.Points)
		if len(points) != 6 {
			t.Errorf("points %q", points)
		}
		for _, at := range points {
			var x, y float64
			if _, err := fmt.Sscanf(at, "%f,%f", &x, &y); err != nil || !within(x, y) {
				t.Errorf("point %q: %v", at, err)
			}
		}
	}
	for _, words := range shown.Text {
		if !within(words.X, words.Y) || words.Words == "" || strings.Contains(words.Words, "NaN") {
			t.Errorf("text %+v", words)
		}
	}
}

// TestUnits: values as people read them.
func TestUnits(t *testing.T) {
	for _, tc := range []struct{ got, want string }{
		{kibi(1024), "1 KiB"},
		{kibi(1 << 22), "4 MiB"},
		{octets(1e5), "100 kB"},
		{octets(1e8), "100 MB"},
		{seconds(0.01), "10 ms"},
		{seconds(10), "10 s"},
	} {
		if tc.got != tc.want {
			t.Errorf("%q, want %q", tc.got, tc.want)
		}
	}
}
