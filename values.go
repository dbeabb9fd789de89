package dynasession

import (
	"slices"
	"strings"

	"bytes"
	"errors"
	"fmt"
	"sync"
	"unicode/utf8"

	"github.com/dynasession/dynasession/internal/protocol"
	"github.com/dynasession/dynasession/internal/seal"
)

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

// keys returns the keys, sorted, without those of flash messages.
func (v *values) keys() []string {
	keys := make([]string, 0, len(v.list))
	for _, kv := range v.list {
		if !strings.HasPrefix(kv.Key, flashPrefix) && kv.Key != deviceKey {
			keys = append(keys, kv.Key)
		}
	}
	slices.Sort(keys)
	return keys
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

// errBinary reports data that PHP could not read: PHP would find a binary attribute where all others are strings.
var errBinary = errors.New("dynasession: the session's data is not UTF-8, and with ForeignWriters it is stored as a string: set Config.BinaryData, in PHP too, or store no such bytes")

var errBadType = errors.New("the data attribute is neither a string nor binary")

// open returns the codec's bytes of r.
func (s *Store) open(r *protocol.Record) ([]byte, error) {
	if r.BadType {
		return nil, corrupt(s.keys.ref(r.Key), errBadType)
	}
	data, err := s.sealer.Open(r.Data, r.Key)
	switch {
	case errors.Is(err, seal.ErrInflate):
		return nil, corrupt(s.keys.ref(r.Key), err)
	case err != nil: // another server may have the key, or know the form
		return nil, corruptHere(s.keys.ref(r.Key), err)
	}
	return data, nil
}

// values returns the values of r.
func (s *Store) values(r *protocol.Record) (values, error) {
	data, err := s.open(r)
	if err != nil {
		return values{}, err
	}
	vals, err := split(s.cfg.Codec, data)
	if err != nil {
		return values{}, corrupt(s.keys.ref(r.Key), err)
	}
	return vals, nil
}

// fill puts data into r, sealed, and checks the size of the item.
func (s *Store) fill(r *protocol.Record, data []byte) (err error) {
	rest := r.SizeWithoutData(protocol.Columns(s.cfg.Attributes)) + len(s.cfg.Attributes.Data)
	if s.cfg.Concurrency == Lock && r.Lock == 0 {
		rest += protocol.LockRoom // every request writes the item with its lock
	}
	if size := rest + len(data); size > protocol.MaxItem {
		return tooLarge(size, protocol.MaxItem)
	}
	r.Data, err = s.sealer.Seal(data, r.Key, rest)
	if err != nil {
		return err
	}
	r.Binary = r.Data != nil && (s.cfg.BinaryData || !utf8.Valid(r.Data)) // DynamoDB's S is UTF-8
	if r.Binary && s.sealer.Bare && !s.cfg.BinaryData {
		return errBinary
	}
	size := r.Size(protocol.Columns(s.cfg.Attributes))
	if r.Lock == 0 {
		size += protocol.LockRoom // else nobody could lock, and so load, what is stored
	}
	if size > protocol.MaxItem {
		return tooLarge(size, protocol.MaxItem)
	}
	return nil
}

// encode fills r with the values.
func (s *Store) encode(r *protocol.Record, vals *values) error {
	if _, ok := s.cfg.Codec.(JSON); ok && len(vals.list) > 0 {
		return s.encodeJSON(r, vals.list)
	}
	data, err := vals.join(s.cfg.Codec)
	if err != nil {
		return fmt.Errorf("dynasession: %w", err)
	}
	return s.fill(r, data)
}

// scratch has room for bytes that nobody keeps.
var scratch = sync.Pool{New: func() any { return new([]byte) }}

// encodeJSON joins the values in a buffer that it keeps for the next session: most sessions are stored in another form.
func (s *Store) encodeJSON(r *protocol.Record, list []KeyValue) error {
	room := scratch.Get().(*[]byte)
	defer scratch.Put(room)
	data, err := appendObject((*room)[:0], list)
	if err != nil {
		return fmt.Errorf("dynasession: %w", err)
	}
	*room = data
	err = s.fill(r, data)
	if len(r.Data) > 0 && &r.Data[0] == &data[0] { // stored as it is
		r.Data = bytes.Clone(data)
	}
	return err
}
