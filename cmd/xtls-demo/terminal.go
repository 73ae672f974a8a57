// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/term"
)

// errNoTerminal: there is nobody to ask.
var errNoTerminal = errors.New("there is no terminal to ask on")

// attended reports whether somebody sits in front of this run: at least one of the
// standard streams is a terminal. If all are redirected it is a script, although
// it may have inherited a terminal.
func (s streams) attended() bool {
	for _, stream := range []any{s.in, s.out, s.err} {
		if isTerminal(stream) {
			return true
		}
	}
	return false
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// openTerminal opens the controlling terminal, which is there whatever standard
// input and output are.
func openTerminal() (in, out *os.File, err error) {
	if runtime.GOOS == "windows" {
		if in, err = os.OpenFile("CONIN$", os.O_RDWR, 0); err != nil {
			return nil, nil, errNoTerminal
		}
		if out, err = os.OpenFile("CONOUT$", os.O_RDWR, 0); err != nil {
			_ = in.Close()
			return nil, nil, errNoTerminal
		}
		return in, out, nil
	}
	if in, err = os.OpenFile("/dev/tty", os.O_RDWR, 0); err != nil {
		return nil, nil, errNoTerminal
	}
	return in, in, nil
}

// ask prints text on the terminal and reads one line. If hidden, what is typed is
// not shown. When ctx ends, so does the question.
func ask(ctx context.Context, text string, hidden bool) (string, error) {
	in, out, err := openTerminal()
	if err != nil {
		return "", err
	}
	defer in.Close()
	if out != in {
		defer out.Close()
	}
	type answer struct {
		line string
		err  error
	}
	answers := make(chan answer, 1)
	restore := func() {}
	if hidden {
		state, err := raw(in)
		if err != nil {
			return "", err
		}
		restore = func() { _ = setState(in, state) }
	}
	defer restore()
	go func() {
		line, err := readAnswer(in, out, text, hidden)
		answers <- answer{line, err}
	}()
	select {
	case a := <-answers:
		return a.line, a.err
	case <-ctx.Done():
		fmt.Fprint(out, "\r\n")
		if in.SetReadDeadline(time.Unix(1, 0)) == nil {
			if a := <-answers; a.err == nil {
				return a.line, nil // somebody was as fast
			}
		} // else the system cannot interrupt it; the reader ends with the next line or the process
		return "", context.Cause(ctx)
	}
}

// raw turns off echo and line editing. It avoids os.File.Fd, after which a read
// could not be interrupted any more.
func raw(f *os.File) (state *term.State, err error) {
	c, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	if e := c.Control(func(fd uintptr) { state, err = term.MakeRaw(int(fd)) }); e != nil {
		return nil, e
	}
	return state, err
}

func setState(f *os.File, state *term.State) (err error) {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	if e := c.Control(func(fd uintptr) { err = term.Restore(int(fd), state) }); e != nil {
		return e
	}
	return err
}

func readAnswer(in io.Reader, out io.Writer, text string, hidden bool) (string, error) {
	if !hidden {
		if _, err := io.WriteString(out, text); err != nil {
			return "", err
		}
		return readLine(in)
	}
	t := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{in, out}, "")
	line, err := t.ReadPassword(text)
	if errors.Is(err, io.EOF) { // Ctrl-C and Ctrl-D, which are characters now
		err = errInterrupted
	}
	return line, err
}

// maxLine bounds what is read as one line.
const maxLine = 4096

// readLine reads one line and nothing behind it.
func readLine(r io.Reader) (string, error) {
	var line []byte
	var b [1]byte
	for len(line) < maxLine {
		if _, err := io.ReadFull(r, b[:]); err != nil {
			if err == io.EOF && len(line) > 0 {
				break
			}
			return "", err
		}
		if b[0] == '\n' {
			return strings.TrimRight(string(line), "\r"), nil
		}
		line = append(line, b[0])
	}
	return string(line), nil
}
