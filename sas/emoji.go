// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package sas

import "strings"

// An Emoji is one of 64 pictures.
type Emoji struct {
	Number int    // 0 to 63
	Symbol string // one picture, of one or two runes
	Name   string // in English, for those who cannot see the picture or draw it otherwise
}

// emojiTable is the table of the Matrix specification (Client-Server API, "SAS
// method: emoji"), numbers and names: users of Matrix know it.
var emojiTable = [64]struct{ symbol, name string }{
	0:  {"🐶", "Dog"},
	1:  {"🐱", "Cat"},
	2:  {"🦁", "Lion"},
	3:  {"🐎", "Horse"},
	4:  {"🦄", "Unicorn"},
	5:  {"🐷", "Pig"},
	6:  {"🐘", "Elephant"},
	7:  {"🐰", "Rabbit"},
	8:  {"🐼", "Panda"},
	9:  {"🐓", "Rooster"},
	10: {"🐧", "Penguin"},
	11: {"🐢", "Turtle"},
	12: {"🐟", "Fish"},
	13: {"🐙", "Octopus"},
	14: {"🦋", "Butterfly"},
	15: {"🌷", "Flower"},
	16: {"🌳", "Tree"},
	17: {"🌵", "Cactus"},
	18: {"🍄", "Mushroom"},
	19: {"🌏", "Globe"},
	20: {"🌙", "Moon"},
	21: {"☁\ufe0f", "Cloud"},
	22: {"🔥", "Fire"},
	23: {"🍌", "Banana"},
	24: {"🍎", "Apple"},
	25: {"🍓", "Strawberry"},
	26: {"🌽", "Corn"},
	27: {"🍕", "Pizza"},
	28: {"🎂", "Cake"},
	29: {"❤\ufe0f", "Heart"},
	30: {"😀", "Smiley"},
	31: {"🤖", "Robot"},
	32: {"🎩", "Hat"},
	33: {"👓", "Glasses"},
	34: {"🔧", "Spanner"},
	35: {"🎅", "Santa"},
	36: {"👍", "Thumbs Up"},
	37: {"☂\ufe0f", "Umbrella"},
	38: {"⌛", "Hourglass"},
	39: {"⏰", "Clock"},
	40: {"🎁", "Gift"},
	41: {"💡", "Light Bulb"},
	42: {"📕", "Book"},
	43: {"✏\ufe0f", "Pencil"},
	44: {"📎", "Paperclip"},
	45: {"✂\ufe0f", "Scissors"},
	46: {"🔒", "Lock"},
	47: {"🔑", "Key"},
	48: {"🔨", "Hammer"},
	49: {"☎\ufe0f", "Telephone"},
	50: {"🏁", "Flag"},
	51: {"🚂", "Train"},
	52: {"🚲", "Bicycle"},
	53: {"✈\ufe0f", "Aeroplane"},
	54: {"🚀", "Rocket"},
	55: {"🏆", "Trophy"},
	56: {"⚽", "Ball"},
	57: {"🎸", "Guitar"},
	58: {"🎺", "Trumpet"},
	59: {"🔔", "Bell"},
	60: {"⚓", "Anchor"},
	61: {"🎧", "Headphones"},
	62: {"📁", "Folder"},
	63: {"📌", "Pin"},
}

// emojiSelector asks for the coloured picture where a character has two looks.
// Not every keyboard sends it.
const emojiSelector = "\ufe0f"

// parseEmoji takes seven names, symbols or numbers. No name begins another one, so
// that blanks between and within names do not matter.
func parseEmoji(typed string) (v uint64, ok bool) {
	s := joinWords(strings.ReplaceAll(typed, emojiSelector, ""))
	for range emojiBits / 6 {
		s = strings.TrimPrefix(s, " ")
		n, rest, ok := cutEmoji(s)
		if !ok {
			return 0, false
		}
		v, s = v<<6|n, rest
	}
	return v, s == ""
}

// joinWords is compact, but leaves a blank where two numbers were apart.
func joinWords(typed string) string {
	var b strings.Builder
	digit := false
	for _, field := range strings.FieldsFunc(typed, isSeparator) {
		if digit && isDigit(field[0]) {
			b.WriteByte(' ')
		}
		b.WriteString(compact(field))
		digit = isDigit(field[len(field)-1])
	}
	return b.String()
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// cutEmoji takes one entry off the front of s.
func cutEmoji(s string) (n uint64, rest string, ok bool) {
	digits := 0
	for digits < len(s) && isDigit(s[digits]) {
		digits++
	}
	if digits > 0 {
		n, ok = parseNumber(s[:digits])
		return n, s[digits:], ok && digits <= 2 && n < uint64(len(emojiTable))
	}
	for i, e := range emojiTable {
		for _, form := range []string{compact(e.name), strings.TrimSuffix(e.symbol, emojiSelector)} {
			if rest, ok := strings.CutPrefix(s, form); ok {
				return uint64(i), rest, true
			}
		}
	}
	return 0, "", false
}
