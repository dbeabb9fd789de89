package dynasession

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"unicode/utf8"
)

// itemReader reads what GetItem answers as a rule: an item of strings, numbers and binary values,
// without the values between that the SDK makes of it. All else is left to the SDK.
type itemReader struct {
	table *table
	b     []byte
}

// readItem reads {"Item":{...}}, and {}, for which r is nil. It keeps nothing of b.
func (t *table) readItem(b []byte) (r *record, ok bool) {
	p := itemReader{t, b}
	i := skipSpace(b, 0)
	if peek(b, i) != '{' {
		return nil, false
	}
	if i = skipSpace(b, i+1); peek(b, i) != '}' {
		var name []byte
		if name, i, ok = p.name(i); !ok || string(name) != "Item" {
			return nil, false
		}
		if r, i, ok = p.item(i); !ok {
			return nil, false
		}
		i = skipSpace(b, i)
	}
	return r, peek(b, i) == '}' && skipSpace(b, i+1) == len(b)
}

// Like the functions of scan.go, these begin at b[i] and give the index behind what they have read.

func (p *itemReader) item(i int) (r *record, next int, ok bool) {
	if peek(p.b, i) != '{' {
		return nil, i, false
	}
	if i = skipSpace(p.b, i+1); peek(p.b, i) == '}' {
		return nil, i + 1, true
	}
	for r = new(record); ; {
		if i, ok = p.attribute(i, r); !ok {
			return nil, i, false
		}
		switch i = skipSpace(p.b, i); peek(p.b, i) {
		case ',':
			i = skipSpace(p.b, i+1)
		case '}':
			return r, i + 1, true
		default:
			return nil, i, false
		}
	}
}

// attribute reads a name, a type and a value, "id":{"S":"..."}, into r.
func (p *itemReader) attribute(i int, r *record) (next int, ok bool) {
	name, i, ok := p.name(i)
	if !ok || peek(p.b, i) != '{' {
		return i, false
	}
	kind, i, ok := p.name(skipSpace(p.b, i+1))
	if !ok {
		return i, false
	}
	text, i, ok := p.text(i)
	if !ok {
		return i, false
	}
	switch string(kind) {
	case "S":
		p.table.read(r, string(name), isText, text)
	case "N":
		p.table.read(r, string(name), isNumber, text)
	case "B":
		data := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
		n, err := base64.StdEncoding.Decode(data, text)
		if err != nil {
			return i, false
		}
		p.table.read(r, string(name), isBinary, data[:n])
	default:
		return i, false
	}
	i = skipSpace(p.b, i)
	return i + 1, peek(p.b, i) == '}'
}

// name reads a name and the colon.
func (p *itemReader) name(i int) (name []byte, next int, ok bool) {
	if name, i, ok = p.text(i); ok {
		i, ok = scanColon(p.b, i)
	}
	return name, i, ok
}

// text reads a string. It may be a part of p.b.
func (p *itemReader) text(i int) (text []byte, next int, ok bool) {
	if next, ok = scanText(p.b, i); !ok {
		return nil, i, false
	}
	text = p.b[i+1 : next-1]
	if bytes.IndexByte(text, '\\') < 0 {
		return text, next, true
	}
	text, ok = unescape(text)
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
