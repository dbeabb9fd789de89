package dynasession

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
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/klauspost/compress/s2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	sealKey1 = bytes.Repeat([]byte{0x11}, 32)
	sealKey2 = bytes.Repeat([]byte{0x22}, 32)
	sealKey3 = bytes.Repeat([]byte{0x33}, 32)
)

const sealItem = "session_0123456789abcdef"

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
		"words":      {words, []string{"bare", "S2", "DEFLATE"}},
		"mixed":      {mixed, []string{"bare", "S2 alone", "S2"}},
		"repetitive": {repetitive, []string{"bare", "S2 alone", "DEFLATE"}},
	}
	for _, compress := range []bool{false, true} {
		for _, keys := range [][][]byte{nil, {sealKey1}, {sealKey2, sealKey1}} {
			s := &sealer{compress: compress, keys: keys}
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
						}{{"bare", size}, {"S2 alone", envelope + len(s2.Encode(nil, original))}, {"S2", envelope + len(testS2.Encode(nil, original))}, {"DEFLATE", envelope + len(deflateBytes(t, testPrimer, original))}}
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
							stored, err := s.seal(plain, sealItem, rest)
							require.NoError(t, err)
							require.True(t, bytes.Equal(original, plain), "what is sealed stays as it is")
							opened, err := s.open(stored, sealItem)
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
	testS2          = s2.MakeDictManual([]byte(dictionary), 0)
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
	for _, s := range []*sealer{{}, {compress: true}, {bare: true}} {
		for _, plain := range [][]byte{nil, {}} {
			stored, err := s.seal(plain, sealItem, 0)
			require.NoError(t, err)
			assert.Nil(t, stored)
			opened, err := s.open(plain, sealItem)
			require.NoError(t, err)
			assert.Empty(t, opened)
		}
	}
	s := &sealer{keys: [][]byte{sealKey1}, compress: true}
	stored, err := s.seal(nil, sealItem, 0)
	require.NoError(t, err)
	assert.NotEmpty(t, stored)
	opened, err := s.open(stored, sealItem)
	require.NoError(t, err)
	assert.Empty(t, opened)
	_, err = s.open(nil, sealItem)
	require.ErrorIs(t, err, errPlain, "data that is gone was taken away")
}

func TestSealBare(t *testing.T) {
	s := &sealer{bare: true, compress: true}
	for _, data := range [][]byte{[]byte("a|i:1;"), repetitive(9000), {sealMagic}, {sealMagic, 1, 2}, {sealMagic, 0xff}} {
		stored, err := s.seal(data, sealItem, 0)
		require.NoError(t, err)
		assert.Equal(t, data, stored)
		opened, err := s.open(data, sealItem)
		require.NoError(t, err)
		assert.Equal(t, data, opened)
	}
}

func TestSealMagicByte(t *testing.T) {
	for _, plain := range [][]byte{{sealMagic}, {sealMagic, 0}, {sealMagic, 1}, {sealMagic, 2, 3}, append([]byte{sealMagic}, repetitive(5000)...)} {
		for _, s := range []*sealer{{}, {compress: true}, {keys: [][]byte{sealKey1}}, {compress: true, keys: [][]byte{sealKey1}}} {
			stored, err := s.seal(plain, sealItem, 0)
			require.NoError(t, err)
			assert.NotEqual(t, plain, stored, "it would be taken for an envelope")
			opened, err := s.open(stored, sealItem)
			require.NoError(t, err)
			assert.Equal(t, plain, opened)
		}
	}
}

func TestSealKeyRing(t *testing.T) {
	plain := []byte(`{"a":1}`)
	sealed := func(keys ...[]byte) []byte {
		stored, err := (&sealer{keys: keys}).seal(plain, sealItem, 0)
		require.NoError(t, err)
		return stored
	}
	for name, tc := range map[string]struct {
		stored []byte
		keys   [][]byte
		err    error
	}{
		"same":                {sealed(sealKey1), [][]byte{sealKey1}, nil},
		"a new one before it": {sealed(sealKey1), [][]byte{sealKey2, sealKey1}, nil},
		"the last of three":   {sealed(sealKey1), [][]byte{sealKey3, sealKey2, sealKey1}, nil},
		"the first encrypts":  {sealed(sealKey2, sealKey1), [][]byte{sealKey2}, nil},
		"only the first does": {sealed(sealKey2, sealKey1), [][]byte{sealKey1}, errDecrypt},
		"dropped":             {sealed(sealKey1), [][]byte{sealKey2, sealKey3}, errDecrypt},
		"none any more":       {sealed(sealKey1), nil, errSealed},
		"not sealed":          {plain, [][]byte{sealKey1}, errPlain},
		"not sealed, flagged": {append([]byte{sealMagic, 0}, plain...), [][]byte{sealKey1}, errPlain},
		"only deflated":       {append([]byte{sealMagic, flagDeflated}, deflateBytes(t, testDeflater, plain)...), [][]byte{sealKey1}, errPlain},
		"unknown flag":        {append([]byte{sealMagic, 16}, plain...), nil, errForm},
		"unknown, with keys":  {append([]byte{sealMagic, 16}, plain...), [][]byte{sealKey1}, errForm},
		"compressed twice":    {append([]byte{sealMagic, flagDeflated | flagS2}, plain...), nil, errForm},
		"primed alone":        {append([]byte{sealMagic, flagPrimed}, plain...), nil, errForm},
		"primed and sealed":   {append([]byte{sealMagic, flagPrimed | flagEncrypted}, plain...), [][]byte{sealKey1}, errForm},
		"magic alone":         {[]byte{sealMagic}, nil, errForm},
		"magic, with keys":    {[]byte{sealMagic}, [][]byte{sealKey1}, errForm},
	} {
		t.Run(name, func(t *testing.T) {
			opened, err := (&sealer{keys: tc.keys}).open(tc.stored, sealItem)
			require.ErrorIs(t, err, tc.err)
			if tc.err == nil {
				assert.Equal(t, plain, opened)
			} else {
				assert.Nil(t, opened)
			}
		})
	}
	first, second := sealed(sealKey1), sealed(sealKey1)
	assert.NotEqual(t, first, second, "a nonce of its own each time")
}

// TestSealBinds: whoever can write the table can neither change nor move what is in it.
func TestSealBinds(t *testing.T) {
	s := &sealer{keys: [][]byte{sealKey1, sealKey2}, compress: true}
	for name, plain := range map[string][]byte{"short": []byte(`{"a":1}`), "long": repetitive(3000)} {
		stored, err := s.seal(plain, sealItem, 0)
		require.NoError(t, err)
		require.EqualValues(t, flagEncrypted, stored[1])

		t.Run(name+": moved", func(t *testing.T) {
			for _, other := range []string{"", "session_0123456789abcdee", sealItem + "\x00", sealItem + "x", sealItem[1:], strings.ToUpper(sealItem)} {
				_, err := s.open(stored, other)
				assert.ErrorIs(t, err, errDecrypt, "%q", other)
			}
		})
		t.Run(name+": flipped", func(t *testing.T) {
			for i := range stored {
				for bit := range 8 {
					bad := bytes.Clone(stored)
					bad[i] ^= 1 << bit
					opened, err := s.open(bad, sealItem)
					require.Error(t, err, "bit %d of byte %d", bit, i)
					require.Nil(t, opened)
				}
			}
		})
		t.Run(name+": cut", func(t *testing.T) {
			for n := 1; n < len(stored); n++ {
				_, err := s.open(stored[:n], sealItem)
				require.Error(t, err, "%d bytes", n)
			}
			_, err := s.open(append(bytes.Clone(stored), 0), sealItem)
			require.Error(t, err, "a byte more")
		})
	}
}

// TestSealBindsFlags: nobody can have data opened in another way than it was sealed. Some of
// it opens in all ways: what is not deflated may look so, and what is deflated is bytes too.
func TestSealBindsFlags(t *testing.T) {
	s := &sealer{keys: [][]byte{sealKey1}, compress: true}
	for name, plain := range map[string][]byte{
		"short": []byte(`{"a":1}`), "deflated": repetitive(3000), "looks deflated": deflateBytes(t, testDeflater, []byte(`{"a":1}`)),
	} {
		stored, err := s.seal(plain, sealItem, 0)
		require.NoError(t, err)
		for flags := range 256 {
			changed := bytes.Clone(stored)
			changed[1] = byte(flags)
			opened, err := s.open(changed, sealItem)
			if changed[1] == stored[1] {
				require.NoError(t, err, name)
				continue
			}
			assert.Error(t, err, "%s: flags %#x for %#x", name, flags, stored[1])
			assert.Nil(t, opened)
		}
	}
}

// TestAssociatedData: the item's key and the flags count beside the derived key, each by itself.
func TestAssociatedData(t *testing.T) {
	s := &sealer{keys: [][]byte{sealKey1}}
	aead, err := itemCipher(sealKey1, sealItem)
	require.NoError(t, err)
	for name, tc := range map[string]struct {
		associated []byte
		err        error
	}{
		"right":             {associated(sealItem, flagEncrypted), nil},
		"none":              {nil, errDecrypt},
		"the item alone":    {[]byte(sealItem), errDecrypt},
		"the flags alone":   {[]byte{flagEncrypted}, errDecrypt},
		"another item":      {associated("session_0123456789abcdee", flagEncrypted), errDecrypt},
		"no item":           {associated("", flagEncrypted), errDecrypt},
		"other flags":       {associated(sealItem, flagEncrypted|flagDeflated), errDecrypt},
		"a part of the key": {associated(sealItem[1:], flagEncrypted), errDecrypt},
	} {
		nonce := make([]byte, aead.NonceSize())
		stored := append([]byte{sealMagic, flagEncrypted}, nonce...)
		opened, err := s.open(aead.Seal(stored, nonce, []byte(`{"a":1}`), tc.associated), sealItem)
		require.ErrorIs(t, err, tc.err, name)
		assert.Equal(t, tc.err == nil, string(opened) == `{"a":1}`, name)
	}
}

// TestItemCipher: each item has a key of its own, so that one table's nonces need not differ.
func TestItemCipher(t *testing.T) {
	sealed := map[string]string{}
	for _, key := range [][]byte{sealKey1, sealKey2} {
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
		"with the dictionary": "c105aa462a804dcc0d0d91a233312f0f2d46b1d863a86b64126208774b2d200000ffff",
		"S2":                  "c108500c7b227573b1620c343731313dcf08616e6e3ad2014a680014312d32345431018c143a30305a227d",
		"without":             "c101aa562a2d4e2d8acf4c51b2523231373454d2514acd4dcccc51b2524acccb7348ad48cc2dc849d54bcecf55d2514a2e4a4d2c494d894f2c51b25232323032d33534d43532093134b03200a128a55a40000000ffff",
	} {
		b, err := hex.DecodeString(stored)
		require.NoError(t, err)
		opened, err := (&sealer{}).open(b, sealItem)
		require.NoError(t, err, name)
		assert.Equal(t, plain, string(opened), name)
	}

	with := deflateBytes(t, testPrimer, []byte(plain))
	without := deflateBytes(t, testDeflater, []byte(plain))
	assert.Less(t, 2*len(with), len(without)+20, "%d and %d bytes", len(with), len(without))
}

// TestS2: what is cut, changed or too large is an error, and costs no memory.
func TestS2(t *testing.T) {
	s := &sealer{}
	envelope := func(body []byte) []byte { return append([]byte{sealMagic, flagS2}, body...) }
	body := testS2.Encode(nil, repetitive(5000))
	for n := range body {
		_, err := s.open(envelope(body[:n]), sealItem)
		require.ErrorIs(t, err, errInflate, "%d of %d bytes", n, len(body))
	}
	_, err := s.open(envelope(append(bytes.Clone(body), 0)), sealItem)
	require.ErrorIs(t, err, errInflate, "a byte more")

	opened, err := s.open(envelope(testS2.Encode(nil, make([]byte, maxPlain))), sealItem)
	require.NoError(t, err)
	assert.Len(t, opened, maxPlain)
	for _, size := range []uint64{maxPlain + 1, 300 << 20, math.MaxUint32, math.MaxUint64} {
		bomb := envelope(append(binary.AppendUvarint(nil, size), body...))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err = s.open(bomb, sealItem)
		runtime.ReadMemStats(&after)
		require.ErrorIs(t, err, errInflate)
		assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(maxPlain), "%d bytes", size)
	}
}

// TestS2IsReadBack: what S2 encodes wrongly is not stored.
func TestS2IsReadBack(t *testing.T) {
	plain := repetitive(3000)
	for name, spoil := range map[string]func([]byte) []byte{
		"a bit":   func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"cut":     func(b []byte) []byte { return b[:len(b)-1] },
		"nothing": func([]byte) []byte { return nil },
		"another": func([]byte) []byte { return testS2.Encode(nil, append(bytes.Clone(plain[1:]), 'x')) },
		"longer":  func([]byte) []byte { return testS2.Encode(nil, append(bytes.Clone(plain), 'x')) },
	} {
		ways := slices.Clone(compressions)
		for i, way := range ways[:2] {
			ways[i].encode = func(room, plain []byte) []byte { return spoil(way.encode(room, plain)) }
		}
		small, flag := compress(new([]byte), plain, 0, 3, ways)
		assert.Equal(t, byte(flagDeflated|flagPrimed), flag, name)
		back, err := inflate(small, primer)
		require.NoError(t, err)
		assert.True(t, bytes.Equal(plain, back), name)
	}
}

func TestInflate(t *testing.T) {
	for name, form := range map[string]struct {
		flags  byte
		writer *flate.Writer
	}{
		"with the dictionary": {flagDeflated | flagPrimed, testPrimer},
		"without":             {flagDeflated, testDeflater},
	} {
		t.Run(name, func(t *testing.T) { testInflate(t, form.flags, form.writer) })
	}
}

func testInflate(t *testing.T, flags byte, w *flate.Writer) {
	s := &sealer{}
	envelope := func(body []byte) []byte { return append([]byte{sealMagic, flags}, body...) }

	body := deflateBytes(t, w, repetitive(5000))
	for n := range body {
		_, err := s.open(envelope(body[:n]), sealItem)
		require.ErrorIs(t, err, errInflate, "%d of %d bytes", n, len(body))
	}
	_, err := s.open(envelope([]byte{0xff, 0xff}), sealItem)
	require.ErrorIs(t, err, errInflate)

	opened, err := s.open(envelope(deflateBytes(t, w, make([]byte, maxPlain))), sealItem)
	require.NoError(t, err)
	assert.Len(t, opened, maxPlain)
	_, err = s.open(envelope(deflateBytes(t, w, make([]byte, maxPlain+1))), sealItem)
	require.ErrorIs(t, err, errInflate)

	// A bomb: under 400 KB that would be 300 MB.
	var zeros bytes.Buffer
	w.Reset(&zeros)
	_, _ = w.Write(make([]byte, 1<<20))
	require.NoError(t, w.Flush())
	bomb := envelope(bytes.Repeat(zeros.Bytes(), 300))
	require.Less(t, len(bomb), maxItem)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err = s.open(bomb, sealItem)
	runtime.ReadMemStats(&after)
	require.ErrorIs(t, err, errInflate)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(16*maxPlain))

	opened, err = s.open(envelope(body), sealItem)
	require.NoError(t, err, "a reader that met an error is used again")
	assert.Equal(t, repetitive(5000), opened)
}

func TestSealTooLarge(t *testing.T) {
	for _, s := range []*sealer{{}, {compress: true}, {bare: true}, {keys: [][]byte{sealKey1}}} {
		_, err := s.seal(make([]byte, maxPlain), sealItem, 0)
		require.NoError(t, err)
		for rest := range 2 {
			_, err = s.seal(make([]byte, maxPlain+1-rest), sealItem, rest)
			require.ErrorIs(t, err, ErrTooLarge)
			assert.Contains(t, err.Error(), "409601 bytes")
			assert.Contains(t, err.Error(), "409600")
		}
	}
}

func TestSealConcurrently(t *testing.T) {
	s := &sealer{keys: [][]byte{sealKey1}, compress: true}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			key := fmt.Sprint("item", i)
			for n := range 100 {
				plain := repetitive(1500 + 100*i + n)
				stored, err := s.seal(plain, key, 100)
				if !assert.NoError(t, err) {
					return
				}
				opened, err := s.open(stored, key)
				if !assert.NoError(t, err) || !assert.Equal(t, plain, opened) {
					return
				}
			}
		})
	}
	wg.Wait()
}

func FuzzOpen(f *testing.F) {
	ring := &sealer{keys: [][]byte{sealKey1, sealKey2}, compress: true}
	open := &sealer{compress: true}
	for _, plain := range [][]byte{{}, []byte(`{"a":1}`), repetitive(3000), incompressible(2000), digits(1500), {sealMagic}} {
		for _, s := range []*sealer{ring, open} {
			stored, err := s.seal(plain, sealItem, 0)
			require.NoError(f, err)
			f.Add(stored)
		}
	}
	f.Add([]byte{sealMagic})
	f.Add([]byte{sealMagic, flagDeflated})
	f.Add([]byte{sealMagic, flagDeflated | flagPrimed})
	f.Add([]byte{sealMagic, flagS2})
	f.Add(append([]byte{sealMagic, flagS2}, testS2.Encode(nil, []byte(dictionary[100:400]))...))
	f.Add([]byte{sealMagic, flagEncrypted})
	f.Add([]byte{sealMagic, flagEncrypted | flagDeflated, 0})
	random := make([]byte, 64)
	_, _ = rand.Read(random)
	f.Add(append([]byte{sealMagic, flagEncrypted}, random...))
	f.Fuzz(func(t *testing.T, data []byte) {
		if opened, err := ring.open(data, "another item"); err == nil && len(opened) > 0 {
			t.Fatalf("opened what nobody sealed: %x", data)
		}
		opened, err := open.open(data, sealItem)
		if err != nil {
			require.Nil(t, opened)
			return
		}
		require.LessOrEqual(t, len(opened), max(maxPlain, len(data)))
		if len(opened) > maxPlain {
			return
		}
		for _, s := range []*sealer{ring, open} {
			stored, err := s.seal(opened, sealItem, len(data))
			require.NoError(t, err)
			again, err := s.open(stored, sealItem)
			require.NoError(t, err)
			require.True(t, bytes.Equal(opened, again))
		}
	})
}

// TestStoredDataIsOnesOwn: records keep their data, whatever is stored next.
func TestStoredDataIsOnesOwn(t *testing.T) {
	for name, cfg := range map[string]Config{
		"as it is":   {NoCompression: true},
		"compressed": {},
		"encrypted":  {EncryptionKeys: [][]byte{sealKey1}},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := New(dynamodb.New(dynamodb.Options{Region: "us-east-1"}), cfg)
			require.NoError(t, err)
			var records []*record
			plain := func(n int) []byte { return fmt.Appendf(nil, "%q", strings.Repeat(strconv.Itoa(n), 3000)) }
			for n := range 10 {
				records = append(records, &record{key: "k"})
				require.NoError(t, s.encode(records[n], &values{list: []KeyValue{{"a", plain(n)}}}))
			}
			for n, r := range records {
				vals, err := s.values(r)
				require.NoError(t, err)
				assert.Equal(t, string(plain(n)), string(vals.list[0].Value))
			}
		})
	}
}
