package dynasession

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"unicode/utf8"

	"github.com/dynasession/dynasession/internal/protocol"
	"github.com/dynasession/dynasession/internal/seal"
)

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
