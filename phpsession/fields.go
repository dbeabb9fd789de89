package phpsession

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
)

// field is a field of a struct as PHP sees it.
type field struct {
	name      string
	index     []int
	omitEmpty bool
}

type fields struct {
	list   []field
	byName map[string]int
}

var fieldCache sync.Map // of *fields, by reflect.Type

// fieldsOf returns the exported fields of a struct. If two have one name, the less deeply embedded one counts, and
// otherwise the first.
func fieldsOf(t reflect.Type) *fields {
	if f, ok := fieldCache.Load(t); ok {
		return f.(*fields)
	}
	f := &fields{byName: map[string]int{}}
	for _, sf := range reflect.VisibleFields(t) {
		tag, tagged := sf.Tag.Lookup("php")
		name, options, _ := strings.Cut(tag, ",")
		if !sf.IsExported() || name == "-" || sf.Anonymous && !tagged && isStruct(sf.Type) || !reachable(t, sf.Index) {
			continue
		}
		if name == "" {
			name = sf.Name
		}
		if i, ok := f.byName[name]; ok {
			if len(f.list[i].index) > len(sf.Index) {
				f.list[i].index, f.list[i].omitEmpty = sf.Index, options == "omitempty"
			}
			continue
		}
		f.byName[name] = len(f.list)
		f.list = append(f.list, field{name, sf.Index, options == "omitempty"})
	}
	cached, _ := fieldCache.LoadOrStore(t, f)
	return cached.(*fields)
}

func isStruct(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Kind() == reflect.Struct
}

// reachable reports whether a field can be set: it is not behind an embedded pointer that is unexported, nor in an
// embedded struct that has a name of its own.
func reachable(t reflect.Type, index []int) bool {
	return !slices.ContainsFunc(index[:len(index)-1], func(i int) bool {
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		sf := t.Field(i)
		t = sf.Type
		_, tagged := sf.Tag.Lookup("php")
		return tagged || t.Kind() == reflect.Pointer && !sf.IsExported()
	})
}

// find returns the number of the field for a key of t; -1 for none.
func (f *fields) find(t, k *token) int {
	var i int
	var ok bool
	if t.kind == 'a' && k.kind == 's' && !k.escaped {
		i, ok = f.byName[string(k.text)] // without making a string
	} else {
		i, ok = f.byName[fmt.Sprint(propertyName(t, pairKey(t, k)))]
	}
	if !ok {
		return -1
	}
	return i
}
