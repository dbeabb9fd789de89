package seal

import (
	"bytes"
	"compress/flate"
	"io"
	"slices"
	"sync"

	"github.com/klauspost/compress/s2"
)

// There are two compressed forms, since none does for both ends. S2 takes a microsecond for 1 KB, and where it saves
// the units that can be saved, nothing else is tried. DEFLATE with the dictionary takes 30 times as long and makes 40 % less of
// it, which is a unit of most sessions that S2 leaves above 1 KB. Zstandard with the same dictionary, which this
// module's S2 package has beside it, was measured as the only form: on its fastest level it takes half of DEFLATE's time and
// costs 5 % more units, on a level that costs as many units it takes longer than DEFLATE.

// compressed returns the smallest stored form of plain that costs fewer units than plain does, beside rest bytes of
// the item; nil if there is none. It tries a slower form as long as that may save another unit, since a unit costs much
// more than any of their time.
func compressed(plain []byte, rest int) []byte { return compressedBy(s2.Encode, plain, rest) }

func compressedBy(encodeS2 func(room, plain []byte) []byte, plain []byte, rest int) []byte {
	size := len(plain)
	if plain[0] == magic {
		size += headerSize
	}
	units := writeUnits(rest + size)
	if units == writeUnits(rest+headerSize) {
		return nil
	}
	room := scratch.Get().(*[]byte)
	defer scratch.Put(room)
	*room = slices.Grow((*room)[:0], s2.MaxEncodedLen(len(plain)))
	var sealed []byte
	saves := func(body []byte) bool { return writeUnits(rest+headerSize+len(body)) < units }
	if body := encodeS2((*room)[:cap(*room)], plain); saves(body) && opensTo(body, plain) {
		sealed, units = envelope(formS2, body), writeUnits(rest+headerSize+len(body))
	}
	if units == writeUnits(rest+headerSize) {
		return sealed
	}
	if body := deflate((*room)[:0], plain); saves(body) {
		sealed = envelope(formDeflated, body)
	}
	return sealed
}

func envelope(form byte, body []byte) []byte {
	return append(append(make([]byte, 0, headerSize+len(body)), magic, form), body...)
}

// writeUnits returns what DynamoDB bills for a write of that many bytes.
func writeUnits(size int) int { return max(1, (size+1023)/1024) }

// scratch has room for bytes that nobody keeps.
var scratch = sync.Pool{New: func() any { return new([]byte) }}

// opensTo reports whether body, in S2, opens to plain. The item becomes the only copy, and encoders as fast as S2's have
// had bugs: here, one costs a try with DEFLATE and no session.
func opensTo(body, plain []byte) bool {
	room := scratch.Get().(*[]byte)
	defer scratch.Put(room)
	*room = slices.Grow((*room)[:0], len(plain))
	back, err := s2.Decode((*room)[:len(plain)], body)
	return err == nil && bytes.Equal(back, plain)
}

func unS2(body []byte) ([]byte, error) {
	// The length comes first in the data, and is what Decode allocates.
	if n, err := s2.DecodedLen(body); err != nil || n > MaxPlain {
		return nil, ErrInflate
	}
	plain, err := s2.Decode(nil, body)
	if err != nil {
		return nil, ErrInflate
	}
	return plain, nil
}

var primer = []byte(dictionary)

var deflaters = sync.Pool{New: func() any {
	w, _ := flate.NewWriterDict(nil, flate.DefaultCompression, primer) // fails for unknown levels only
	return w
}}

// deflate compresses plain into room, if room is large enough.
func deflate(room, plain []byte) []byte {
	w := deflaters.Get().(*flate.Writer)
	defer deflaters.Put(w)
	buf := bytes.NewBuffer(room[:0])
	w.Reset(buf)
	_, _ = w.Write(plain) // a Buffer takes everything
	_ = w.Close()
	return buf.Bytes()
}

var inflaters = sync.Pool{New: func() any { return flate.NewReader(nil) }}

func inflate(body []byte) ([]byte, error) {
	r := inflaters.Get().(io.ReadCloser)
	defer inflaters.Put(r)
	if err := r.(flate.Resetter).Reset(bytes.NewReader(body), primer); err != nil {
		return nil, ErrInflate
	}
	var buf bytes.Buffer
	buf.Grow(min(4*len(body), MaxPlain))
	n, err := buf.ReadFrom(io.LimitReader(r, MaxPlain+1))
	if err != nil || n > MaxPlain {
		return nil, ErrInflate
	}
	return buf.Bytes(), nil
}
