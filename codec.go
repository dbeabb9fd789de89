package dynasession

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/dynasession/dynasession/internal/jsonscan"
)

// A KeyValue is one key of a session and its encoded value.
type KeyValue struct {
	Key   string
	Value []byte
}

// A Codec encodes the values of a session one by one, and joins and splits the set of them. So a key that a request
// does not touch keeps its bytes, whoever wrote them, and two requests' changes can be merged without knowing their
// types.
//
// Split(Join(v)) returns v, in order. Malformed input is an error. The result of Split may alias its input. The
// result of Marshal must not alias v, and Unmarshal must neither keep nor change data. Errors must not hold values. A
// Codec must be safe for concurrent use.
type Codec interface {
	// Marshal encodes one value.
	Marshal(v any) ([]byte, error)
	// Unmarshal decodes one value into what v points to.
	Unmarshal(data []byte, v any) error
	// Join returns the session's data. It is not called for no values.
	Join(values []KeyValue) ([]byte, error)
	// Split returns the values of the session's data. It is not called for no data.
	Split(data []byte) ([]KeyValue, error)
}

// JSON is the default [Codec]. A session is one JSON object, which the DynamoDB console shows as text and every
// language reads. Values follow the rules of encoding/json, but HTML characters are not escaped: that costs bytes,
// and a session is no web page. The zero value is ready.
type JSON struct{}

var _ Codec = JSON{}

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// Marshal encodes v as encoding/json does. A string that is not UTF-8 is an error, since encoding/json would change
// it; a []byte keeps such bytes.
func (JSON) Marshal(v any) ([]byte, error) {
	buf := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(buf)
	buf.Reset()
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, &codecError{fmt.Sprintf("a %T does not encode as JSON%s", v, reason(err)), err}
	}
	value := bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
	if _, raw := v.(json.RawMessage); !raw && hasReplaced(value) || !utf8.Valid(value) {
		return nil, &codecError{fmt.Sprintf("a %T has a string that is not UTF-8: use []byte", v), nil}
	}
	if len(value) > jsonscan.MaxDepth {
		if _, ok := jsonscan.Value(value, 0, 1); !ok { // encoding/json writes what it does not read
			return nil, &codecError{fmt.Sprintf("a %T is nested too deeply for JSON", v), nil}
		}
	}
	return bytes.Clone(value), nil
}

// reason returns what encoding/json says of a value that it cannot encode, if that holds nothing of the value: NaN, a
// cycle, a channel.
func reason(err error) string {
	if e := (*json.UnsupportedValueError)(nil); errors.As(err, &e) {
		return ": " + e.Str
	}
	if e := (*json.UnsupportedTypeError)(nil); errors.As(err, &e) {
		return fmt.Sprintf(": %v is no type of JSON", e.Type)
	}
	return ""
}

// hasReplaced reports whether encoding/json has put U+FFFD in the place of bytes that are not UTF-8. It writes that
// as an escape, and the character itself as it is.
func hasReplaced(value []byte) bool {
	for {
		i := bytes.IndexByte(value, '\\')
		if i < 0 || i+1 == len(value) {
			return false
		}
		if bytes.HasPrefix(value[i+1:], []byte("ufffd")) {
			return true
		}
		value = value[i+2:]
	}
}

// Unmarshal decodes data as encoding/json does.
func (JSON) Unmarshal(data []byte, v any) error {
	err := json.Unmarshal(data, v)
	if err == nil {
		return nil
	}
	text := "does not decode as " + strings.TrimPrefix(fmt.Sprintf("%T", v), "*")
	if t := (*json.UnmarshalTypeError)(nil); errors.As(err, &t) {
		text += fmt.Sprintf(": at offset %d, no value for a Go %s", t.Offset, t.Type)
	}
	return &codecError{text, err}
}

// codecError keeps its cause for errors.As and out of its text: the texts of encoding/json, and of the UnmarshalJSON
// methods that it calls, quote values.
type codecError struct {
	text  string
	cause error
}

func (e *codecError) Error() string { return e.text }
func (e *codecError) Unwrap() error { return e.cause }

// Join returns one JSON object. Each Value must be valid JSON; each Key must be valid UTF-8, and must be there once.
func (JSON) Join(values []KeyValue) ([]byte, error) {
	size := 2
	for _, kv := range values {
		size += len(kv.Key) + len(kv.Value) + 4
	}
	return appendObject(make([]byte, 0, size), values)
}

func appendObject(buf []byte, values []KeyValue) ([]byte, error) {
	buf = append(buf, '{')
	for i, kv := range values {
		if !utf8.ValidString(kv.Key) {
			return nil, fmt.Errorf("key %q is not UTF-8", kv.Key)
		}
		if len(kv.Value) == 0 {
			return nil, fmt.Errorf("key %q has no value", kv.Key)
		}
		if i > 0 {
			buf = append(buf, ',')
		}
		buf = appendJSONString(buf, kv.Key)
		buf = append(buf, ':')
		buf = append(buf, kv.Value...)
	}
	return append(buf, '}'), nil
}

// appendJSONString appends s, which is valid UTF-8, in quotes.
func appendJSONString(buf []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(s) // a string always encodes
			return append(buf, quoted...)
		}
	}
	buf = append(buf, '"')
	buf = append(buf, s...)
	return append(buf, '"')
}

var errNotJSON = errors.New("not valid JSON")

// Split returns the values of a JSON object. They alias data. A key that is there twice is an error: readers would
// disagree about which value counts.
func (JSON) Split(data []byte) ([]KeyValue, error) {
	i := jsonscan.Space(data, 0)
	if jsonscan.Peek(data, i) != '{' {
		return nil, errors.New("not a JSON object")
	}
	var values []KeyValue
	keys := keyBuffers.Get().(*keyBuffer)
	defer keys.free()
	i = jsonscan.Space(data, i+1)
	for more := jsonscan.Peek(data, i) != '}'; more; {
		end, ok := jsonscan.String(data, i)
		if !ok {
			return nil, errNotJSON
		}
		if err := keys.add(data[i:end]); err != nil {
			return nil, err
		}
		from, ok := jsonscan.Colon(data, end)
		if !ok {
			return nil, errNotJSON
		}
		if i, ok = jsonscan.Value(data, from, 1); !ok {
			return nil, errNotJSON
		}
		if values == nil {
			values = make([]KeyValue, 0, 8)
		}
		values = append(values, KeyValue{Value: data[from:i:i]})
		if i = jsonscan.Space(data, i); jsonscan.Peek(data, i) == ',' {
			i = jsonscan.Space(data, i+1)
			continue
		}
		if more = false; jsonscan.Peek(data, i) != '}' {
			return nil, errNotJSON
		}
	}
	if jsonscan.Space(data, i+1) < len(data) {
		return nil, errNotJSON
	}
	keys.fill(values)
	return values, uniqueKeys(values)
}

var keyBuffers = sync.Pool{New: func() any { return new(keyBuffer) }}

// keyBuffer collects keys, so that all of them are parts of one string, and one allocation.
type keyBuffer struct {
	text []byte
	ends []int // in text
}

// add decodes a JSON string that is known to be valid.
func (k *keyBuffer) add(quoted []byte) error {
	inner := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(inner, '\\') >= 0 {
		var s string
		if err := json.Unmarshal(quoted, &s); err != nil {
			return errors.New("a key does not decode")
		}
		inner = []byte(s)
	}
	if !utf8.Valid(inner) {
		return errors.New("a key is not UTF-8")
	}
	k.text = append(k.text, inner...)
	k.ends = append(k.ends, len(k.text))
	return nil
}

func (k *keyBuffer) fill(values []KeyValue) {
	text, from := string(k.text), 0
	for i, end := range k.ends {
		values[i].Key = text[from:end]
		from = end
	}
}

// free keeps the buffer for the next session, unless that of this one was unusually large.
func (k *keyBuffer) free() {
	if k.text, k.ends = k.text[:0], k.ends[:0]; cap(k.text) <= 16<<10 {
		keyBuffers.Put(k)
	}
}

func uniqueKeys(values []KeyValue) error {
	if len(values) < 2 {
		return nil
	}
	if len(values) <= linearKeys {
		for i := range values {
			for j := range i {
				if values[i].Key == values[j].Key {
					return errors.New("a key is there twice")
				}
			}
		}
		return nil
	}
	seen := make(map[string]struct{}, len(values))
	for _, kv := range values {
		seen[kv.Key] = struct{}{}
	}
	if len(seen) != len(values) {
		return errors.New("a key is there twice")
	}
	return nil
}

// marshal encodes v. It never returns nil, which would mean no value.
func marshal(codec Codec, v any) ([]byte, error) {
	value, err := codec.Marshal(v)
	if value == nil {
		value = []byte{}
	}
	return value, err
}

func noKey(key string) error { return fmt.Errorf("%w: %q", ErrNoKey, key) }

func decode(codec Codec, key string, raw []byte, v any) error {
	if err := codec.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("dynasession: key %q: %w", key, err)
	}
	return nil
}
