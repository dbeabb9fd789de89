package dynasession

import "slices"

// linearKeys is how many keys are searched one by one. Up to there that is faster than a map.
const linearKeys = 16

// maxMoved is how many deletions an index lasts before it is built anew. Each deletion moves what is behind it, and a
// key is then searched from its former place.
const maxMoved = 64

// values is an ordered set of encoded values under keys. The encodings are never changed in place, so copies of the
// set share them.
type values struct {
	list  []KeyValue
	index map[string]int // of list, up to moved places too far; there once that is longer than linearKeys
	moved int
}

// newValues takes over list. If a key is there twice, the last value counts, at the place of the first.
func newValues(list []KeyValue) values {
	if len(list) <= linearKeys && uniqueKeys(list) == nil {
		return values{list: list}
	}
	index := make(map[string]int, len(list))
	kept := list[:0]
	for _, kv := range list {
		if i, ok := index[kv.Key]; ok {
			kept[i].Value = kv.Value
			continue
		}
		index[kv.Key] = len(kept)
		kept = append(kept, kv)
	}
	return values{list: kept, index: index}
}

func (v *values) find(key string) int {
	if v.index != nil {
		i, ok := v.index[key]
		if !ok {
			return -1
		}
		for i = min(i, len(v.list)-1); v.list[i].Key != key; i-- {
		}
		return i
	}
	for i := range v.list {
		if v.list[i].Key == key {
			return i
		}
	}
	return -1
}

func (v *values) get(key string) ([]byte, bool) {
	if i := v.find(key); i >= 0 {
		return v.list[i].Value, true
	}
	return nil, false
}

func (v *values) set(key string, value []byte) {
	if i := v.find(key); i >= 0 {
		v.list[i].Value = value
		return
	}
	v.list = append(v.list, KeyValue{key, value})
	switch {
	case v.index != nil:
		v.index[key] = len(v.list) - 1
	case len(v.list) > linearKeys:
		v.reindex()
	}
}

func (v *values) delete(key string) {
	i := v.find(key)
	if i < 0 {
		return
	}
	v.list = slices.Delete(v.list, i, i+1)
	if v.index == nil {
		return
	}
	delete(v.index, key)
	if v.moved++; v.moved > maxMoved {
		v.reindex()
	}
}

func (v *values) reindex() {
	v.index, v.moved = make(map[string]int, len(v.list)), 0
	for i := range v.list {
		v.index[v.list[i].Key] = i
	}
}

// clone returns a copy of the set, which may be changed. It shares the encodings.
func (v *values) clone() values {
	c := values{list: slices.Clone(v.list)}
	if v.index != nil {
		c.reindex()
	}
	return c
}

// join returns the encoded set, or nil if it is empty.
func (v *values) join(codec Codec) ([]byte, error) {
	if len(v.list) == 0 {
		return nil, nil
	}
	return codec.Join(v.list)
}

// split is the reverse of join.
func split(codec Codec, data []byte) (values, error) {
	if len(data) == 0 {
		return values{}, nil
	}
	list, err := codec.Split(data)
	if err != nil {
		return values{}, err
	}
	for i := range list {
		if list[i].Value == nil { // which is no value
			list[i].Value = []byte{}
		}
	}
	return newValues(list), nil
}
