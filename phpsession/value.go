package phpsession

import (
	"fmt"
	"strings"
)

// A Value holds any PHP value, and keeps what Go has no type for. V is one of
//
//	nil, bool, int64, float64, string
//	Array
//	*Object, *Custom, Enum
//
// Where PHP has a reference (&), two places hold the same *Value. Where PHP has one object in two places, both hold
// the same *Object. So a tree may contain itself.
//
// A Value that is read and stored again is, to PHP, the value that it was. For an object with a reference to itself,
// that holds only if the *Value is stored into which it was read.
type Value struct{ V any }

// An Array is a PHP array: pairs in order. Keys are int64 or string. As in PHP, a decimal string that fits an int64
// is that int64.
type Array []Pair

// A Pair is a key, an int64 or string, and its value.
type Pair struct {
	Key   any
	Value *Value
}

// An Object is a PHP object: its class, and its properties in order, under the names that PHP's array cast uses:
// "name" for a public one, "\x00*\x00name" for a protected one, "\x00Class\x00name" for one that is private to Class.
// [Pair.Property] splits such a name. What a class's __serialize returned may have int64 keys too. The zero Object is
// null, if it is encoded by value.
type Object struct {
	Class      string
	Properties []Pair
}

// A Custom is a PHP object that encodes itself (Serializable). Its data is kept as it is. The zero Custom is null, if
// it is encoded by value.
type Custom struct{ Class, Data string }

// An Enum is a case of a PHP enum. The zero Enum is null.
type Enum struct{ Class, Case string }

// Property returns the name of an object's property, its visibility, "public", "protected" or "private", and for a
// private one the class that declares it.
func (p Pair) Property() (name, visibility, class string) {
	s, ok := p.Key.(string)
	if !ok {
		return fmt.Sprint(p.Key), "public", ""
	}
	if rest, ok := strings.CutPrefix(s, "\x00"); ok {
		if class, name, ok = strings.Cut(rest, "\x00"); ok && class != "" {
			if class == "*" {
				return name, "protected", ""
			}
			return name, "private", class
		}
	}
	return s, "public", ""
}

// Get returns the value of key, an int or a string; nil for none. "7" and 7 are the same key, as in PHP.
func (a Array) Get(key any) *Value {
	key = arrayKey(key)
	for _, p := range a {
		if arrayKey(p.Key) == key {
			return p.Value
		}
	}
	return nil
}

// Set sets key, an int or a string, to v, anything that encodes. If other places reference the value, it changes for
// them too, as in PHP.
//
// If v is a *Value, as Get returns it, Set makes a copy, as PHP's assignment does: also of the arrays in it, while
// objects stay the same. References in the copy are between parts of the copy. A nil *Value is null.
func (a *Array) Set(key, v any) {
	var x Value
	switch v := v.(type) {
	case Value:
		x = v
	case *Value:
		if v != nil {
			x = *copied(v, map[*Value]*Value{})
		}
	default:
		x = Value{v}
	}
	if old := a.Get(key); old != nil {
		*old = x
		return
	}
	*a = append(*a, Pair{arrayKey(key), &x})
}

// copied copies v with the arrays in it. known are the copies that are made already.
func copied(v *Value, known map[*Value]*Value) *Value {
	if c := known[v]; c != nil || v == nil {
		return c
	}
	c := &Value{v.V}
	known[v] = c // before what is in it, which may be itself
	if pairs, ok := v.V.(Array); ok {
		own := make(Array, len(pairs))
		for i, p := range pairs {
			own[i] = Pair{p.Key, copied(p.Value, known)}
		}
		c.V = own
	}
	return c
}

// Get returns the value of a property by its name, whatever its visibility; nil for none.
func (o *Object) Get(name string) *Value {
	for _, p := range o.Properties {
		if n, _, _ := p.Property(); n == name {
			return p.Value
		}
	}
	return nil
}

// arrayKey returns key as an array holds it: int64 or string. Other types are left as they are, and do not encode.
func arrayKey(key any) any {
	switch k := key.(type) {
	case string:
		if n, ok := arrayInt(k); ok {
			return n
		}
	case int:
		return int64(k)
	}
	return key
}
