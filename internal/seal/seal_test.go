package seal

import (
	"bytes"
	"compress/flate"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	mrand "math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	key1 = bytes.Repeat([]byte{0x11}, 32)
	key2 = bytes.Repeat([]byte{0x22}, 32)
	key3 = bytes.Repeat([]byte{0x33}, 32)
)

const item = "session_0123456789abcdef"

// repetitive and random data, of that many bytes; neither begins with the magic byte.
func repetitive(n int) []byte { return bytes.Repeat([]byte(`{"k":"vvvv"},`), n/13+1)[:n] }

func incompressible(n int) []byte {
	out := make([]byte, n)
	r := mrand.NewChaCha8([32]byte{byte(n), byte(n >> 8)})
	_, _ = r.Read(out)
	if n > 0 {
		out[0] = '{'
	}
	return out
}

// digits has nothing to refer to, but few letters: only DEFLATE makes it smaller.
func digits(n int) []byte {
	out := incompressible(n)
	for i := range out {
		out[i] = '0' + out[i]%10
	}
	return out
}

// mixed is half and half, so that it deflates by a little.
func mixed(n int) []byte { return append(repetitive(n/4), incompressible(n-n/4)...) }

// words are the dictionary's, in disorder: without it, they hardly deflate.
func words(n int) []byte {
	var out []byte
	for r := mrand.New(mrand.NewPCG(1, uint64(n))); len(out) < n; {
		at := r.IntN(len(dictionary) - 12)
		out = append(out, dictionary[at:at+12]...)
	}
	return out[:n]
}

// TestSeal goes through all settings, kinds of data and sizes around the borders of write
// units: everything opens again, and compression is used when, and only when, it saves one.
func TestSeal(t *testing.T) {
	sizes := []int{1, 2, 3, 100}
	for _, border := range []int{1, 2, 3} {
		for _, d := range []int{-31, -30, -29, -2, -1, 0, 1, 2, 3} {
			sizes = append(sizes, border*1024+d)
		}
	}
	sizes = append(sizes, 40<<10)
	kinds := map[string]struct {
		data  func(int) []byte
		forms []string // that it must take
	}{
		"random":     {incompressible, []string{"bare"}},
		"digits":     {digits, []string{"bare", "DEFLATE"}},
		"words":      {words, []string{"bare", "DEFLATE"}},
		"mixed":      {mixed, []string{"bare", "S2"}},
		"repetitive": {repetitive, []string{"bare", "S2"}},
	}
	for _, compress := range []bool{false, true} {
		for _, keys := range [][][]byte{nil, {key1}, {key2, key1}} {
			s := &Sealer{Compress: compress, Keys: keys}
			for kind, of := range kinds {
				t.Run(fmt.Sprintf("compress %v, %d keys, %s", compress, len(keys), kind), func(t *testing.T) {
					used := map[string]bool{}
					for _, size := range sizes {
						original := of.data(size)
						envelope := 2
						if len(keys) > 0 {
							envelope += 12 + 16
						}
						forms := []struct {
							name string
							size int
						}{{"bare", size}, {"S2", envelope + len(s2.Encode(nil, original))}, {"DEFLATE", envelope + len(deflateBytes(t, testPrimer, original))}}
						if len(keys) > 0 {
							forms[0].size += envelope
						}
						if !compress || len(keys) > 0 { // sizes of what is compressed tell what it holds
							forms = forms[:1]
						}
						rests := []int{0, 1, 150, 1023}
						for _, f := range forms {
							fits := 1023 - (f.size+1023)%1024 // beside that, it just fits into its units
							rests = append(rests, fits, fits+1, fits+2, max(fits-1, 0))
						}
						for _, rest := range rests {
							plain := bytes.Clone(original)
							stored, err := s.Seal(plain, item, rest)
							require.NoError(t, err)
							require.True(t, bytes.Equal(original, plain), "what is sealed stays as it is")
							opened, err := s.Open(stored, item)
							require.NoError(t, err)
							require.True(t, bytes.Equal(original, opened))

							if len(keys) > 0 {
								require.False(t, size > 12 && bytes.Contains(stored, plain[:13]))
							}
							want := forms[0]
							for _, f := range forms[1:] {
								if billed(rest+f.size) < billed(rest+want.size) {
									want = f
								}
							}
							used[want.name] = true
							require.Len(t, stored, want.size, "%d bytes beside %d: %s of %v", size, rest, want.name, forms)
							if len(keys) == 0 && want.name == "bare" {
								require.True(t, bytes.Equal(plain, stored), "so that others can read it")
							}
						}
					}
					for _, form := range of.forms {
						assert.True(t, used[form] || !compress || len(keys) > 0, form)
					}
				})
			}
		}
	}
}

func billed(size int) int { return max(1, (size+1023)/1024) }

var ( // one of each, since they are large
	testDeflater, _ = flate.NewWriter(nil, flate.DefaultCompression)
	testPrimer, _   = flate.NewWriterDict(nil, flate.DefaultCompression, []byte(dictionary))
)

func deflateBytes(t *testing.T, w *flate.Writer, plain []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w.Reset(&b)
	_, err := w.Write(plain)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

func TestSealEmpty(t *testing.T) {
	for _, s := range []*Sealer{{}, {Compress: true}, {Bare: true}} {
		for _, plain := range [][]byte{nil, {}} {
			stored, err := s.Seal(plain, item, 0)
			require.NoError(t, err)
			assert.Nil(t, stored)
			opened, err := s.Open(plain, item)
			require.NoError(t, err)
			assert.Empty(t, opened)
		}
	}
	s := &Sealer{Keys: [][]byte{key1}, Compress: true}
	stored, err := s.Seal(nil, item, 0)
	require.NoError(t, err)
	assert.NotEmpty(t, stored)
	opened, err := s.Open(stored, item)
	require.NoError(t, err)
	assert.Empty(t, opened)
	_, err = s.Open(nil, item)
	require.ErrorIs(t, err, ErrPlain, "data that is gone was taken away")
}

func TestSealBare(t *testing.T) {
	s := &Sealer{Bare: true, Compress: true}
	for _, data := range [][]byte{[]byte("a|i:1;"), repetitive(9000), {magic}, {magic, 1, 2}, {magic, 0xff}} {
		stored, err := s.Seal(data, item, 0)
		require.NoError(t, err)
		assert.Equal(t, data, stored)
		opened, err := s.Open(data, item)
		require.NoError(t, err)
		assert.Equal(t, data, opened)
	}
}

func TestSealMagicByte(t *testing.T) {
	for _, plain := range [][]byte{{magic}, {magic, 0}, {magic, 1}, {magic, 2, 3}, append([]byte{magic}, repetitive(5000)...)} {
		for _, s := range []*Sealer{{}, {Compress: true}, {Keys: [][]byte{key1}}, {Compress: true, Keys: [][]byte{key1}}} {
			stored, err := s.Seal(plain, item, 0)
			require.NoError(t, err)
			assert.NotEqual(t, plain, stored, "it would be taken for an envelope")
			opened, err := s.Open(stored, item)
			require.NoError(t, err)
			assert.Equal(t, plain, opened)
		}
	}
}

func TestSealKeyRing(t *testing.T) {
	plain := []byte(`{"a":1}`)
	sealed := func(keys ...[]byte) []byte {
		stored, err := (&Sealer{Keys: keys}).Seal(plain, item, 0)
		require.NoError(t, err)
		return stored
	}
	for name, tc := range map[string]struct {
		stored []byte
		keys   [][]byte
		err    error
	}{
		"same":                {sealed(key1), [][]byte{key1}, nil},
		"a new one before it": {sealed(key1), [][]byte{key2, key1}, nil},
		"the last of three":   {sealed(key1), [][]byte{key3, key2, key1}, nil},
		"the first encrypts":  {sealed(key2, key1), [][]byte{key2}, nil},
		"only the first does": {sealed(key2, key1), [][]byte{key1}, ErrDecrypt},
		"dropped":             {sealed(key1), [][]byte{key2, key3}, ErrDecrypt},
		"none any more":       {sealed(key1), nil, ErrEncrypted},
		"not sealed":          {plain, [][]byte{key1}, ErrPlain},
		"not sealed, marked":  {append([]byte{magic, 0}, plain...), [][]byte{key1}, ErrPlain},
		"only deflated":       {append([]byte{magic, formDeflated}, deflateBytes(t, testPrimer, plain)...), [][]byte{key1}, ErrPlain},
		"unknown form":        {append([]byte{magic, 16}, plain...), nil, ErrForm},
		"unknown, with keys":  {append([]byte{magic, 16}, plain...), [][]byte{key1}, ErrForm},
		"no dictionary":       {append([]byte{magic, 1}, deflateBytes(t, testDeflater, plain)...), nil, ErrForm},
		"magic alone":         {[]byte{magic}, nil, ErrForm},
		"magic, with keys":    {[]byte{magic}, [][]byte{key1}, ErrForm},
	} {
		t.Run(name, func(t *testing.T) {
			opened, err := (&Sealer{Keys: tc.keys}).Open(tc.stored, item)
			require.ErrorIs(t, err, tc.err)
			if tc.err == nil {
				assert.Equal(t, plain, opened)
			} else {
				assert.Nil(t, opened)
			}
		})
	}
	first, second := sealed(key1), sealed(key1)
	assert.NotEqual(t, first, second, "a nonce of its own each time")
}

// TestSealBinds: whoever can write the table can neither change nor move what is in it.
func TestSealBinds(t *testing.T) {
	s := &Sealer{Keys: [][]byte{key1, key2}, Compress: true}
	for name, plain := range map[string][]byte{"short": []byte(`{"a":1}`), "long": repetitive(3000)} {
		stored, err := s.Seal(plain, item, 0)
		require.NoError(t, err)
		require.EqualValues(t, formEncrypted, stored[1])

		t.Run(name+": moved", func(t *testing.T) {
			for _, other := range []string{"", "session_0123456789abcdee", item + "\x00", item + "x", item[1:], strings.ToUpper(item)} {
				_, err := s.Open(stored, other)
				assert.ErrorIs(t, err, ErrDecrypt, "%q", other)
			}
		})
		t.Run(name+": flipped", func(t *testing.T) {
			for i := range stored {
				for bit := range 8 {
					bad := bytes.Clone(stored)
					bad[i] ^= 1 << bit
					opened, err := s.Open(bad, item)
					require.Error(t, err, "bit %d of byte %d", bit, i)
					require.Nil(t, opened)
				}
			}
		})
		t.Run(name+": cut", func(t *testing.T) {
			for n := 1; n < len(stored); n++ {
				_, err := s.Open(stored[:n], item)
				require.Error(t, err, "%d bytes", n)
			}
			_, err := s.Open(append(bytes.Clone(stored), 0), item)
			require.Error(t, err, "a byte more")
		})
	}
}

// TestSealBindsForm: nobody can have data opened in another form than it was sealed in, although some data opens in
// every form.
func TestSealBindsForm(t *testing.T) {
	s := &Sealer{Keys: [][]byte{key1}, Compress: true}
	for name, plain := range map[string][]byte{
		"short": []byte(`{"a":1}`), "deflated": repetitive(3000), "looks deflated": deflateBytes(t, testDeflater, []byte(`{"a":1}`)),
	} {
		stored, err := s.Seal(plain, item, 0)
		require.NoError(t, err)
		for form := range 256 {
			changed := bytes.Clone(stored)
			changed[1] = byte(form)
			opened, err := s.Open(changed, item)
			if changed[1] == stored[1] {
				require.NoError(t, err, name)
				continue
			}
			assert.Error(t, err, "%s: form %#x for %#x", name, form, stored[1])
			assert.Nil(t, opened)
		}
	}
}

// TestAssociatedData: the item's key and the form count beside the derived key, each by itself.
func TestAssociatedData(t *testing.T) {
	s := &Sealer{Keys: [][]byte{key1}}
	aead, err := itemCipher(key1, item)
	require.NoError(t, err)
	for name, tc := range map[string]struct {
		associated []byte
		err        error
	}{
		"right":             {associated(item), nil},
		"none":              {nil, ErrDecrypt},
		"the item alone":    {[]byte(item), ErrDecrypt},
		"the form alone":    {[]byte{formEncrypted}, ErrDecrypt},
		"another item":      {associated("session_0123456789abcdee"), ErrDecrypt},
		"no item":           {associated(""), ErrDecrypt},
		"another form":      {append([]byte(item), 0, formDeflated), ErrDecrypt},
		"a part of the key": {associated(item[1:]), ErrDecrypt},
	} {
		nonce := make([]byte, aead.NonceSize())
		stored := append([]byte{magic, formEncrypted}, nonce...)
		opened, err := s.Open(aead.Seal(stored, nonce, []byte(`{"a":1}`), tc.associated), item)
		require.ErrorIs(t, err, tc.err, name)
		assert.Equal(t, tc.err == nil, string(opened) == `{"a":1}`, name)
	}
}

// TestItemCipher: each item has a key of its own, so that one table's nonces need not differ.
func TestItemCipher(t *testing.T) {
	sealed := map[string]string{}
	for _, key := range [][]byte{key1, key2} {
		for _, item := range []string{"a", "b", "ab"} {
			aead, err := itemCipher(key, item)
			require.NoError(t, err)
			out := string(aead.Seal(nil, make([]byte, aead.NonceSize()), make([]byte, 32), nil))
			assert.Empty(t, sealed[out], "%s has the key of %s", item, sealed[out])
			sealed[out] = item
		}
	}
}

// TestDictionary: what is stored opens with the text that it was compressed with. Whoever
// changes that makes it a second one, beside the first.
func TestDictionary(t *testing.T) {
	assert.Equal(t, "3f88e911946e43432f37c57ad0b4d8a834905808dd9fe3d05122f80b8a484674", fmt.Sprintf("%x", sha256.Sum256([]byte(dictionary))))

	plain := `{"user_id":"4711","email":"ann@example.com","created_at":"2026-11-24T10:00:00Z"}`
	for name, stored := range map[string]string{
		"DEFLATE": "c105aa462a804dcc0d0d91a233312f0f2d46b1d863a86b64126208774b2d200000ffff",
		"S2":      "c108" + hex.EncodeToString(s2.Encode(nil, []byte(plain))),
	} {
		b, err := hex.DecodeString(stored)
		require.NoError(t, err)
		opened, err := (&Sealer{}).Open(b, item)
		require.NoError(t, err, name)
		assert.Equal(t, plain, string(opened), name)
	}

	with := deflateBytes(t, testPrimer, []byte(plain))
	without := deflateBytes(t, testDeflater, []byte(plain))
	assert.Less(t, 2*len(with), len(without)+20, "%d and %d bytes", len(with), len(without))
}

// TestS2: what is cut, changed or too large is an error, and costs no memory.
func TestS2(t *testing.T) {
	s := &Sealer{}
	envelope := func(body []byte) []byte { return append([]byte{magic, formS2}, body...) }
	body := s2.Encode(nil, repetitive(5000))
	for n := range body {
		_, err := s.Open(envelope(body[:n]), item)
		require.ErrorIs(t, err, ErrInflate, "%d of %d bytes", n, len(body))
	}
	_, err := s.Open(envelope(append(bytes.Clone(body), 0)), item)
	require.ErrorIs(t, err, ErrInflate, "a byte more")

	opened, err := s.Open(envelope(s2.Encode(nil, make([]byte, MaxPlain))), item)
	require.NoError(t, err)
	assert.Len(t, opened, MaxPlain)
	for _, size := range []uint64{MaxPlain + 1, 300 << 20, math.MaxUint32, math.MaxUint64} {
		bomb := envelope(append(binary.AppendUvarint(nil, size), body...))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err = s.Open(bomb, item)
		runtime.ReadMemStats(&after)
		require.ErrorIs(t, err, ErrInflate)
		assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(MaxPlain), "%d bytes", size)
	}
}

// TestS2IsReadBack: what S2 encodes wrongly is not stored.
func TestS2IsReadBack(t *testing.T) {
	plain := repetitive(3000)
	for name, spoil := range map[string]func([]byte) []byte{
		"a bit":   func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"cut":     func(b []byte) []byte { return b[:len(b)-1] },
		"nothing": func([]byte) []byte { return nil },
		"another": func([]byte) []byte { return s2.Encode(nil, append(bytes.Clone(plain[1:]), 'x')) },
		"longer":  func([]byte) []byte { return s2.Encode(nil, append(bytes.Clone(plain), 'x')) },
	} {
		stored := compressedBy(func(room, plain []byte) []byte { return spoil(s2.Encode(room, plain)) }, plain, 0)
		assert.Equal(t, byte(formDeflated), stored[1], name)
		back, err := (&Sealer{}).Open(stored, item)
		require.NoError(t, err)
		assert.True(t, bytes.Equal(plain, back), name)
	}
}

func TestInflate(t *testing.T) {
	w := testPrimer
	s := &Sealer{}
	envelope := func(body []byte) []byte { return append([]byte{magic, formDeflated}, body...) }

	body := deflateBytes(t, w, repetitive(5000))
	for n := range body {
		_, err := s.Open(envelope(body[:n]), item)
		require.ErrorIs(t, err, ErrInflate, "%d of %d bytes", n, len(body))
	}
	_, err := s.Open(envelope([]byte{0xff, 0xff}), item)
	require.ErrorIs(t, err, ErrInflate)

	opened, err := s.Open(envelope(deflateBytes(t, w, make([]byte, MaxPlain))), item)
	require.NoError(t, err)
	assert.Len(t, opened, MaxPlain)
	_, err = s.Open(envelope(deflateBytes(t, w, make([]byte, MaxPlain+1))), item)
	require.ErrorIs(t, err, ErrInflate)

	// A bomb: under 400 KB that would be 300 MB.
	var zeros bytes.Buffer
	w.Reset(&zeros)
	_, _ = w.Write(make([]byte, 1<<20))
	require.NoError(t, w.Flush())
	bomb := envelope(bytes.Repeat(zeros.Bytes(), 300))
	require.Less(t, len(bomb), MaxPlain)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err = s.Open(bomb, item)
	runtime.ReadMemStats(&after)
	require.ErrorIs(t, err, ErrInflate)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(16*MaxPlain))

	opened, err = s.Open(envelope(body), item)
	require.NoError(t, err, "a reader that met an error is used again")
	assert.Equal(t, repetitive(5000), opened)
}

func TestSealConcurrently(t *testing.T) {
	s := &Sealer{Keys: [][]byte{key1}, Compress: true}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			key := fmt.Sprint("item", i)
			for n := range 100 {
				plain := repetitive(1500 + 100*i + n)
				stored, err := s.Seal(plain, key, 100)
				if !assert.NoError(t, err) {
					return
				}
				opened, err := s.Open(stored, key)
				if !assert.NoError(t, err) || !assert.Equal(t, plain, opened) {
					return
				}
			}
		})
	}
	wg.Wait()
}

func FuzzOpen(f *testing.F) {
	ring := &Sealer{Keys: [][]byte{key1, key2}, Compress: true}
	open := &Sealer{Compress: true}
	for _, plain := range [][]byte{{}, []byte(`{"a":1}`), repetitive(3000), incompressible(2000), digits(1500), {magic}} {
		for _, s := range []*Sealer{ring, open} {
			stored, err := s.Seal(plain, item, 0)
			require.NoError(f, err)
			f.Add(stored)
		}
	}
	f.Add([]byte{magic})
	f.Add([]byte{magic, formDeflated})
	f.Add([]byte{magic, formS2})
	f.Add(append([]byte{magic, formS2}, s2.Encode(nil, []byte(dictionary[100:400]))...))
	f.Add([]byte{magic, formEncrypted})
	random := make([]byte, 64)
	_, _ = rand.Read(random)
	f.Add(append([]byte{magic, formEncrypted}, random...))
	f.Fuzz(func(t *testing.T, data []byte) {
		if opened, err := ring.Open(data, "another item"); err == nil && len(opened) > 0 {
			t.Fatalf("opened what nobody sealed: %x", data)
		}
		opened, err := open.Open(data, item)
		if err != nil {
			require.Nil(t, opened)
			return
		}
		require.LessOrEqual(t, len(opened), max(MaxPlain, len(data)))
		if len(opened) > MaxPlain {
			return
		}
		for _, s := range []*Sealer{ring, open} {
			stored, err := s.Seal(opened, item, len(data))
			require.NoError(t, err)
			again, err := s.Open(stored, item)
			require.NoError(t, err)
			require.True(t, bytes.Equal(opened, again))
		}
	})
}

// BenchmarkCompression reports what compressing and opening costs, and the write units that it saves.
func BenchmarkCompression(b *testing.B) {
	const rest = 250 // of a signed-in session's item
	for _, size := range []int{200, 1 << 10, 3 << 10, 8 << 10, 40 << 10} {
		plain := []byte("{")
		for n := 0; len(plain) < size; n++ {
			sum := sha256.Sum256(fmt.Append(nil, n))
			plain = fmt.Appendf(plain, `"entry_%d":{"reference":"%x","status":"open","remarks":"entry number %d of this session"},`, n, sum[:8], n)
		}
		plain = plain[:size]
		s := &Sealer{Compress: true}
		stored, err := s.Seal(plain, item, rest)
		require.NoError(b, err)
		b.Run(fmt.Sprintf("seal/%d", size), func(b *testing.B) {
			for b.Loop() {
				_, _ = s.Seal(plain, item, rest)
			}
			b.ReportMetric(float64(writeUnits(rest+len(plain))-writeUnits(rest+len(stored))), "units-saved")
			b.ReportMetric(float64(len(stored)), "bytes")
		})
		b.Run(fmt.Sprintf("open/%d", size), func(b *testing.B) {
			for b.Loop() {
				_, _ = s.Open(stored, item)
			}
		})
	}
}
