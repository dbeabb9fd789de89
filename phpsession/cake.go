package phpsession

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/dynasession/dynasession"
)

// Lookup returns the value at a dotted path, as CakePHP reads it: "Auth.User.id" is $_SESSION['Auth']['User']['id'].
// A part of the path may name the key of an array, a property of an object, a field of CakePHP's entities, or an
// element of an ArrayObject or ArrayIterator, as PHP 7.4 and later serialize them. Like CakePHP, Lookup does not
// return null. It returns false if there is nothing at the path, or nothing that decodes as a T.
func Lookup[T any](s *dynasession.Session, path string) (T, bool) {
	var v, zero T
	key, rest, dotted := strings.Cut(path, ".")
	l := &lookup{into: &v}
	if dotted {
		l.path = strings.Split(rest, ".")
	}
	if s.Decode(key, l) != nil || !l.found {
		return zero, false
	}
	return v, true
}

// lookup makes unmarshal look for a part of the value instead of decoding it as a whole.
type lookup struct {
	path  []string
	into  any
	found bool
}

// entityFields are the properties in which the entities of CakePHP 3, and of later versions, keep what they show as
// array elements.
var entityFields = []string{"_properties", "_fields"}

func (d *decoder) lookup(pos int, l *lookup) error {
	t, err := d.head(pos)
	for _, part := range l.path {
		if err != nil {
			return err
		}
		at := d.element(&t, part)
		if at < 0 {
			return nil
		}
		t, err = d.head(at)
	}
	if err != nil || t.kind == 'N' {
		return err
	}
	_, err = d.value(t.start, 0, reflect.ValueOf(l.into).Elem())
	l.found = err == nil
	return err
}

// element returns where the value that a part of a path names in t begins; -1 for none.
func (d *decoder) element(t *token, part string) int {
	for left := arrayObjects; ; left-- {
		elements, ok := d.arrayObject(t)
		if !ok {
			break
		}
		inner, err := d.head(elements)
		if err != nil || left == 0 {
			return -1
		}
		t = &inner
	}
	for _, fields := range entityFields {
		if t.kind != 'O' {
			break
		}
		if at := d.member(t, fields, part); at >= 0 {
			return at
		}
	}
	return d.member(t, part)
}

// arrayObjects is how many ArrayObjects may hold one another. Bad data has them without end.
const arrayObjects = 8

// arrayObject returns where the elements of t are, if t is an ArrayObject, an ArrayIterator, or of a subclass of
// them: all have the keys 0 to 3, for flags, elements, properties, and the iterator's class. The last one may be
// missing, but then other classes look the same.
func (d *decoder) arrayObject(t *token) (elements int, ok bool) {
	if t.kind != 'O' || t.n != 4 && (t.n != 3 || string(t.text) != "ArrayObject" && string(t.text) != "ArrayIterator") {
		return 0, false
	}
	var at [4]int
	var kinds [4]byte
	n := 0
	_, err := d.each(t, func(k *token, pos int) (int, error) {
		if k.kind != 'i' || parseInt(k.text) != int64(n) {
			return 0, errNoArrayObject
		}
		v, err := d.head(pos)
		if err != nil {
			return 0, err
		}
		at[n], kinds[n] = pos, v.kind
		n++
		return d.skip(pos, 0)
	})
	switch {
	case err != nil || kinds[0] != 'i' || kinds[2] != 'a' || n == 4 && kinds[3] != 'N' && kinds[3] != 's':
		return 0, false
	case kinds[1] == 'a' || kinds[1] == 'O':
		return at[1], true
	}
	return at[2], kinds[1] == 'N' // its elements are its own properties
}

var errNoArrayObject = errors.New("phpsession: no ArrayObject")

// head returns the token at pos, or the one that a reference there leads to.
func (d *decoder) head(pos int) (t token, err error) {
	for range 3 { // an R may name an r
		if t, err = d.next(pos); err != nil || t.kind != 'R' && t.kind != 'r' {
			return t, err
		}
		if pos, err = d.target(&t); err != nil {
			return t, err
		}
	}
	return t, expected(t.start, "the number of a value")
}

// member returns where the value at a path of keys in t begins; -1 for none.
func (d *decoder) member(t *token, path ...string) int {
	if !t.nested() {
		return -1
	}
	found := -1
	_, err := d.each(t, func(k *token, pos int) (int, error) {
		if isKey(t, k, path[0]) {
			found = pos
		}
		return d.skip(pos, 0)
	})
	if err != nil || found < 0 || len(path) == 1 {
		return found
	}
	inner, err := d.head(found)
	if err != nil {
		return -1
	}
	return d.member(&inner, path[1:]...)
}

// isKey reports whether k, a key of t, is called name.
func isKey(t, k *token, name string) bool {
	if t.kind == 'a' && k.kind == 's' && !k.escaped {
		return string(k.text) == name // without making a string
	}
	return fmt.Sprint(propertyName(t, pairKey(t, k))) == name
}

// KeepAlive keeps the session alive for CakePHP, which ends a session by a clock of its own, Config.time. KeepAlive
// sets it to now if it is older than age, which costs a write; a minute is a good age. Call it in Go's handlers, before
// they read the session, for users whom PHP does not see for a while.
//
// A session without Config.time is left as it is. One whose Config.time is older than [dynasession.Session.IdleTimeout]
// is over for CakePHP, and KeepAlive destroys it. So session_lifetime, Session.timeout and Config.IdleTimeout must be
// the same. A session that [dynasession.Session.Remember] lets last longer lasts as long for CakePHP too.
func KeepAlive(s *dynasession.Session, age time.Duration) {
	now := time.Now()
	stored, _ := Lookup[any](s, "Config.time")
	last, ok := seconds(stored)
	unused := now.Sub(time.Unix(last, 0))
	if !ok || unused < max(age, time.Second) {
		return
	}
	if unused > s.IdleTimeout() {
		s.Destroy()
		return
	}
	edit(s, "Config", func(e *editor) error {
		at, err := e.find("time")
		if err != nil || at < 0 {
			return err
		}
		var stored any
		if _, err := e.value(at, 0, reflect.ValueOf(&stored).Elem()); err != nil {
			return err
		}
		if seen, ok := seconds(stored); ok && seen >= now.Unix() {
			return nil
		}
		return e.set([]string{"time"}, appendInt(nil, now.Unix()))
	})
}

// seconds returns the time that Config.time holds: an int, or digits, which CakePHP takes for an int.
func seconds(v any) (n int64, ok bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case string:
		n, err := strconv.ParseInt(v, 10, 64)
		return n, err == nil
	}
	return 0, false
}
