package dynasession

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"unicode/utf8"
)

// itemReader reads what GetItem and UpdateItem answer as a rule: an item of strings, numbers and binary
// values, and the call's cost, without the values between that the SDK makes of it. All else is left to
// the SDK.
type itemReader struct {
	table  *table
	member string // that holds the item
	b      []byte

	taken bool    // it has read the answer
	item  *record // nil for none
	units float64
}

func (p *itemReader) take(body []byte) bool {
	*p = itemReader{table: p.table, member: p.member, b: body} // an attempt before may have left something
	p.taken = p.read()
	p.b = nil // it is the caller's
	return p.taken
}

// read keeps nothing of b.
func (p *itemReader) read() (ok bool) {
	i, ok := p.object(skipSpace(p.b, 0), p.answer)
	return ok && skipSpace(p.b, i) == len(p.b)
}

// Like the functions of scan.go, these begin at b[i] and give the index behind what they have read.

// object reads an object, by member from each name's value on.
func (p *itemReader) object(i int, member func(name []byte, i int) (next int, ok bool)) (next int, ok bool) {
	if peek(p.b, i) != '{' {
		return i, false
	}
	if i = skipSpace(p.b, i+1); peek(p.b, i) == '}' {
		return i + 1, true
	}
	for {
		name, at, ok := p.text(i)
		if !ok {
			return i, false
		}
		if i, ok = scanColon(p.b, at); !ok {
			return i, false
		}
		if i, ok = member(name, i); !ok {
			return i, false
		}
		switch i = skipSpace(p.b, i); peek(p.b, i) {
		case ',':
			i = skipSpace(p.b, i+1)
		case '}':
			return i + 1, true
		default:
			return i, false
		}
	}
}

func (p *itemReader) answer(name []byte, i int) (next int, ok bool) {
	switch string(name) {
	case p.member:
		return p.object(i, p.attribute)
	case "ConsumedCapacity":
		p.units = 0
		return p.object(i, p.capacity)
	}
	return i, false
}

func (p *itemReader) capacity(name []byte, i int) (next int, ok bool) {
	switch string(name) {
	case "TableName":
		return scanText(p.b, i)
	case "CapacityUnits":
		if next, ok = scanNumber(p.b, i); !ok {
			return i, false
		}
		var err error
		p.units, err = strconv.ParseFloat(string(p.b[i:next]), 64)
		return next, err == nil
	}
	return i, false
}

// attribute reads a type and a value, {"S":"..."}.
func (p *itemReader) attribute(name []byte, i int) (next int, ok bool) {
	if p.item == nil {
		p.item = new(record)
	}
	types := 0
	next, ok = p.object(i, func(kind []byte, i int) (next int, ok bool) {
		text, next, ok := p.text(i)
		types++
		return next, ok && p.value(string(name), string(kind), text)
	})
	return next, ok && types == 1
}

func (p *itemReader) value(name, kind string, text []byte) (ok bool) {
	switch kind {
	case "S":
		p.table.read(p.item, name, isText, text)
	case "N":
		p.table.read(p.item, name, isNumber, text)
	case "B":
		data := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
		n, err := base64.StdEncoding.Decode(data, text)
		if err != nil {
			return false
		}
		p.table.read(p.item, name, isBinary, data[:n])
	default:
		return false
	}
	return true
}

// text reads a string. It may be a part of p.b.
func (p *itemReader) text(i int) (text []byte, next int, ok bool) {
	if peek(p.b, i) != '"' {
		return nil, i, false
	}
	if end := skipPlain(p.b, i+1); peek(p.b, end) == '"' {
		return p.b[i+1 : end], end + 1, true
	}
	if next, ok = scanText(p.b, i); !ok {
		return nil, i, false
	}
	text, ok = unescape(p.b[i+1 : next-1])
	return text, next, ok
}

// unescape gives what the inside of a well-formed string stands for.
func unescape(b []byte) (text []byte, ok bool) {
	text = make([]byte, 0, len(b))
	for i := 0; ; i += 2 {
		end := skipPlain(b, i)
		text = append(text, b[i:end]...)
		if i = end; i == len(b) {
			return text, utf8.Valid(text)
		}
		c := b[i+1]
		switch c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			var whole string
			err := json.Unmarshal([]byte(`"`+string(b)+`"`), &whole)
			return []byte(whole), err == nil
		}
		text = append(text, c)
	}
}
