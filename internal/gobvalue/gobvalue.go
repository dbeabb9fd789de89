// Package gobvalue encodes single values with their types, for the adapters of libraries whose values have any type.
package gobvalue

import (
	"bytes"
	"encoding/gob"
	"fmt"
	"reflect"
	"time"
)

func init() { gob.Register(time.Time{}) }

// Marshal encodes v. Types that are neither predeclared nor time.Time need gob.Register.
func Marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(&v); err != nil {
		return nil, fmt.Errorf("a %T does not encode: %w", v, err)
	}
	return b.Bytes(), nil
}

// Unmarshal decodes a value that Marshal has encoded.
func Unmarshal(raw []byte) (v any, err error) {
	if err = gob.NewDecoder(bytes.NewReader(raw)).Decode(&v); err != nil {
		return nil, fmt.Errorf("a value does not decode: %w", err)
	}
	return v, nil
}

// Holds reports whether raw is the encoding of v. The encodings of equal values differ: gob writes a map in any order.
func Holds(raw []byte, v any) bool {
	old, err := Unmarshal(raw)
	return err == nil && reflect.DeepEqual(old, v)
}
