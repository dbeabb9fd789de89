package phpsession_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/big"
	"net/netip"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/phpsession"
)

type (
	value  = phpsession.Value
	array  = phpsession.Array
	pair   = phpsession.Pair
	object = phpsession.Object
)

func num(n int64) string { return strconv.FormatInt(n, 10) }

type base struct {
	ID int `php:"id"`
}

type hidden struct{ Deep string }

type profile struct {
	base
	*hidden
	Name    string         `php:"name"`
	Email   *string        `php:"email,omitempty"`
	Tags    []string       `php:"tags"`
	Extra   map[string]any `php:"extra,omitempty"`
	Plain   bool
	Skipped int `php:"-"`
	secret  int
}

func TestMarshal(t *testing.T) {
	shared, o := &value{V: int64(1)}, &object{Class: "A", Properties: []pair{{Key: "\x00*\x00p", Value: &value{V: "x"}}}}
	email := "a@b"
	for want, v := range map[string]any{
		`N;`:                          nil,
		`b:1;`:                        true,
		`i:-5;`:                       int8(-5),
		`i:9223372036854775807;`:      uint64(math.MaxInt64),
		`d:0.1;`:                      0.1,
		`d:1.0E+25;`:                  1e25,
		`d:-0;`:                       math.Copysign(0, -1),
		`d:NAN;`:                      math.NaN(),
		"s:2:\"\xff\x00\";":           "\xff\x00",
		"s:2:\"\xff\x01\";":           []byte("\xff\x01"),
		`s:9:"127.0.0.1";`:            netip.MustParseAddr("127.0.0.1"),
		`a:0:{}`:                      []int(nil),
		`a:2:{i:0;i:1;i:1;i:2;}`:      [2]int{1, 2},
		`a:2:{i:0;N;i:1;s:1:"x";}`:    []any{(*int)(nil), "x"},
		`a:2:{i:7;i:1;s:2:"07";i:2;}`: map[string]int{"7": 1, "07": 2},
		`a:2:{i:-1;i:1;i:2;i:2;}`:     map[int]int{2: 2, -1: 1},
		`a:5:{s:2:"id";i:3;s:4:"name";s:1:"n";s:5:"email";s:3:"a@b";s:4:"tags";a:0:{}s:5:"Plain";b:0;}`: profile{base: base{3}, Name: "n", Email: &email, secret: 1, Skipped: 2},
		`a:2:{i:0;i:1;i:1;R:2;}`:           array{{Key: 0, Value: shared}, {Key: 1, Value: shared}},
		`a:2:{i:0;a:1:{i:0;i:1;}i:1;R:3;}`: []any{[]any{shared}, shared},
		`a:2:{s:1:"a";O:1:"A":1:{s:4:"` + "\x00*\x00p" + `";s:1:"x";}s:1:"b";r:2;}`: map[string]any{"a": o, "b": o},
		`a:2:{i:0;E:6:"Suit:H";i:1;r:2;}`:                                           []any{phpsession.Enum{Class: "Suit", Case: "H"}, phpsession.Enum{Class: "Suit", Case: "H"}},
		`a:2:{i:0;C:1:"L":3:{}:{}i:1;i:5;}`:                                         []any{&phpsession.Custom{Class: "L", Data: "}:{"}, value{V: 5}},
		`a:1:{i:5;N;}`:                                                              array{{Key: "5", Value: nil}},
	} {
		got, err := phpsession.PHP{}.Marshal(v)
		require.NoError(t, err, want)
		assert.Equal(t, want, string(got))
	}
	// Types whose pointers have MarshalText, wherever they are, as they decode.
	n := *big.NewInt(77)
	for want, v := range map[string]any{
		`s:2:"77";`:                 n,
		`a:1:{i:0;s:2:"77";}`:       []big.Int{n},
		`a:1:{s:1:"N";s:2:"77";}`:   struct{ N big.Int }{n},
		`a:1:{s:1:"k";s:2:"77";}`:   map[string]big.Int{"k": n},
		`a:2:{i:0;s:2:"77";i:1;N;}`: []*big.Int{&n, nil},
	} {
		got, err := phpsession.PHP{}.Marshal(v)
		require.NoError(t, err, want)
		assert.Equal(t, want, string(got))
		back := reflect.New(reflect.TypeOf(v))
		require.NoError(t, phpsession.PHP{}.Unmarshal(got, back.Interface()), want)
		assert.Equal(t, v, back.Elem().Interface())
	}
	// A tree that contains itself.
	loop := &value{}
	loop.V = array{{Key: "me", Value: loop}}
	for _, v := range []any{loop, *loop} {
		got, err := phpsession.PHP{}.Marshal(v)
		require.NoError(t, err)
		assert.Equal(t, `a:1:{s:2:"me";R:1;}`, string(got))
		var back value
		require.NoError(t, phpsession.PHP{}.Unmarshal(got, &back))
		me := back.V.(array).Get("me")
		assert.Same(t, me, me.V.(array).Get("me"))
	}
}

// roundTrip decodes data, and returns what that encodes as.
func roundTrip[T any](t *testing.T, data string) (v T, again string) {
	t.Helper()
	v = unmarshal[T](t, data)
	encoded, err := phpsession.PHP{}.Marshal(v)
	require.NoError(t, err, data)
	return v, string(encoded)
}

// TestByValue: objects decode and encode without pointers too, and each is one of its own then.
func TestByValue(t *testing.T) {
	const o, c, e = "O:1:\"A\":2:{s:1:\"x\";i:1;s:4:\"\x00*\x00y\";N;}", `C:1:"L":3:{}:{}`, `E:6:"Suit:H";`
	plain, custom, enum := object{Class: "A", Properties: []pair{{Key: "x", Value: &value{V: int64(1)}}, {Key: "\x00*\x00y", Value: &value{}}}},
		phpsession.Custom{Class: "L", Data: "}:{"}, phpsession.Enum{Class: "Suit", Case: "H"}

	gotObject, again := roundTrip[object](t, o)
	assert.Equal(t, plain, gotObject)
	assert.Equal(t, o, again)
	gotCustom, again := roundTrip[phpsession.Custom](t, c)
	assert.Equal(t, custom, gotCustom)
	assert.Equal(t, c, again)
	type all struct {
		O object
		P **object
		C phpsession.Custom
		E phpsession.Enum
		Q *phpsession.Enum
		L []object
		M map[string]phpsession.Custom
		N [1]phpsession.Enum
	}
	data := `a:8:{s:1:"O";` + o + `s:1:"P";` + o + `s:1:"C";` + c + `s:1:"E";` + e + `s:1:"Q";r:7;s:1:"L";a:1:{i:0;` + o + `}s:1:"M";a:1:{s:1:"k";` + c + `}s:1:"N";a:1:{i:0;r:7;}}`
	gotAll, again := roundTrip[all](t, strings.ReplaceAll(data, "r:7;", "r:9;"))
	assert.Equal(t, plain, gotAll.L[0])
	assert.Equal(t, plain, **gotAll.P)
	assert.Equal(t, custom, gotAll.M["k"])
	assert.Equal(t, enum, *gotAll.Q)
	assert.Equal(t, strings.ReplaceAll(data, "r:7;", "r:9;"), again)

	// One object in two places is two.
	two, again := roundTrip[[]object](t, `a:2:{i:0;O:1:"A":0:{}i:1;r:2;}`)
	assert.Equal(t, []object{{Class: "A", Properties: []pair{}}, {Class: "A", Properties: []pair{}}}, two)
	assert.Equal(t, `a:2:{i:0;O:1:"A":0:{}i:1;O:1:"A":0:{}}`, again)
	same := object{Class: "A"}
	encoded, err := phpsession.PHP{}.Marshal([]any{same, same, custom, custom, &same, &same, value{V: same}})
	require.NoError(t, err)
	assert.Equal(t, `a:7:{i:0;O:1:"A":0:{}i:1;O:1:"A":0:{}i:2;`+c+`i:3;`+c+`i:4;O:1:"A":0:{}i:5;r:6;i:6;O:1:"A":0:{}}`, string(encoded))

	// What PHP had as null stays null.
	const nulls = `a:8:{s:1:"O";N;s:1:"P";N;s:1:"C";N;s:1:"E";N;s:1:"Q";N;s:1:"L";a:2:{i:0;N;i:1;N;}s:1:"M";a:1:{s:1:"k";N;}s:1:"N";a:1:{i:0;N;}}`
	gotAll, again = roundTrip[all](t, nulls)
	assert.Zero(t, gotAll.O)
	assert.Zero(t, gotAll.C)
	assert.Zero(t, gotAll.E)
	assert.Len(t, gotAll.L, 2)
	assert.Equal(t, nulls, again)
	encoded, err = phpsession.PHP{}.Marshal([]any{&value{V: phpsession.Enum{}}, new(phpsession.Enum), 5, enum, phpsession.Enum{}, enum})
	require.NoError(t, err)
	assert.Equal(t, `a:6:{i:0;N;i:1;N;i:2;i:5;i:3;`+e+`i:4;N;i:5;r:5;}`, string(encoded))
	type sparse struct {
		O object            `php:",omitempty"`
		C phpsession.Custom `php:",omitempty"`
		E phpsession.Enum   `php:",omitempty"`
	}
	_, again = roundTrip[sparse](t, `a:0:{}`)
	assert.Equal(t, `a:0:{}`, again)
}

// TestMarshalOwnObject: a reference to the value itself, which is an object, stays a reference when the Value is encoded that was
// decoded. A copy is another Value, in which there is a handle of the object.
func TestMarshalOwnObject(t *testing.T) {
	const reference, handle = `O:8:"stdClass":1:{s:1:"p";R:1;}`, `O:8:"stdClass":1:{s:1:"p";r:1;}`
	values, err := phpsession.PHP{}.Split([]byte(`a|` + reference + `b|R:1;`))
	require.NoError(t, err)
	for _, kv := range values { // b's value is a's, through a reference
		var v value
		require.NoError(t, phpsession.PHP{}.Unmarshal(kv.Value, &v))
		got, err := phpsession.PHP{}.Marshal(&v)
		require.NoError(t, err)
		assert.Equal(t, reference, string(got), kv.Key)
		got, err = phpsession.PHP{}.Marshal(v)
		require.NoError(t, err)
		assert.Equal(t, handle, string(got), kv.Key)
	}
}

// TestDepth: PHP reads 4096 levels; an empty array does not count as one.
func TestDepth(t *testing.T) {
	empty, object := array{}, &object{Class: "A"}
	for _, c := range []struct {
		leaf   any
		data   string
		levels int // that may be around it
	}{
		{1, `i:1;`, 4096},
		{empty, `a:0:{}`, 4096},
		{[]int{}, `a:0:{}`, 4096},
		{map[string]int{}, `a:0:{}`, 4096},
		{struct{}{}, `a:0:{}`, 4096},
		{[]int{1}, `a:1:{i:0;i:1;}`, 4095},
		{object, `O:1:"A":0:{}`, 4095},
	} {
		for more := range 2 {
			v, levels := c.leaf, c.levels+more
			for range levels {
				v = []any{v}
			}
			data := strings.Repeat(`a:1:{i:0;`, levels) + c.data + strings.Repeat(`}`, levels)
			ok := more == 0
			got, err := phpsession.PHP{}.Marshal(v)
			require.Equal(t, ok, err == nil, "%T: %v", c.leaf, err)
			if ok {
				require.Equal(t, data, string(got))
			}
			// With a reference to it, and what is then written in full.
			values, err := phpsession.PHP{}.Split([]byte(`a|` + data + `b|R:1;`))
			require.Equal(t, ok, err == nil, "%T: %v", c.leaf, err)
			if ok {
				got, err = phpsession.PHP{}.Join(values[1:])
				require.NoError(t, err, "%T", c.leaf)
				require.Equal(t, `b|`+data, string(got))
				for _, into := range []any{new(any), new(value)} {
					require.NoError(t, phpsession.PHP{}.Unmarshal(values[0].Value, into), "%T", c.leaf)
				}
			}
		}
	}
}

func TestMarshalErrors(t *testing.T) {
	deep := any(1)
	for range 4097 {
		deep = []any{deep}
	}
	type node struct{ Next *node }
	ring := &node{}
	ring.Next = ring
	inner := &value{V: 1}
	for want, v := range map[string]any{
		"a chan int does not encode":                make(chan int),
		"too large for an int of PHP":               uint64(math.MaxUint64),
		"more than 4096 levels":                     deep,
		"more than 4096 levels, which":              ring,
		"its keys must be integers or strings":      map[float64]int{1: 1},
		"a key is there twice, as an integer":       map[any]int{1: 1, "1": 2},
		"a key is there twice":                      array{{Key: "1", Value: nil}, {Key: 1, Value: nil}},
		"a key is a float64":                        array{{Key: 1.5, Value: nil}},
		"a Value holds a Value":                     &value{V: inner},
		"without a class that PHP takes":            &object{Class: `A":0:{}`},
		"an object without a class":                 &phpsession.Custom{Class: "", Data: "x"},
		"an object without a class that":            &phpsession.Custom{Class: `\A`, Data: "x"},
		"object without a class that PHP takes":     &object{Class: `\A`},
		"object without a class that PHP":           &object{Class: "A\x7f"},
		"an Enum without a class and a case":        phpsession.Enum{Class: "A", Case: ""},
		"an Enum without a class and":               phpsession.Enum{Class: "A\x7f", Case: "B"},
		"an Enum without a class and a":             phpsession.Enum{Class: "", Case: "B"},
		"an object without a class that PHP":        object{Properties: []pair{{Key: "x"}}},
		"object without a class that PHP take":      &object{},
		"an object without a class that PHP takes":  phpsession.Custom{Data: "x"},
		"a phpsession_test.failing does not encode": failing{},
	} {
		_, err := phpsession.PHP{}.Marshal(v)
		require.ErrorContains(t, err, want)
		assert.NotContains(t, err.Error(), "secret")
	}
	_, err := phpsession.PHP{}.Marshal(failing{})
	require.ErrorIs(t, err, errSecret)
	err = phpsession.PHP{}.Unmarshal([]byte(`s:6:"secret";`), &failing{})
	require.ErrorIs(t, err, errSecret)
	assert.NotContains(t, err.Error(), "secret")
}

var errSecret = errors.New("the secret itself")

type failing struct{}

func (failing) MarshalText() ([]byte, error)  { return nil, errSecret }
func (*failing) UnmarshalText(_ []byte) error { return errSecret }

func unmarshal[T any](t *testing.T, data string) T {
	t.Helper()
	var v T
	require.NoError(t, phpsession.PHP{}.Unmarshal([]byte(data), &v), data)
	return v
}

func TestUnmarshal(t *testing.T) {
	assert.Equal(t, int64(math.MaxInt64), unmarshal[any](t, `i:99999999999999999999;`))
	assert.Equal(t, []float32{7}, unmarshal[[]float32](t, `a:1:{i:0;i:7;}`))
	assert.True(t, math.IsInf(unmarshal[float64](t, `d:1e999;`), 1))
	assert.Equal(t, uint8(255), unmarshal[uint8](t, `i:+0255;`))
	assert.Equal(t, "a\\b\xff", unmarshal[string](t, `S:4:"a\5cb\fF";`))
	assert.Equal(t, []byte("ab"), unmarshal[[]byte](t, `s:2:"ab";`))
	assert.Equal(t, netip.MustParseAddr("::1"), unmarshal[netip.Addr](t, `s:3:"::1";`))
	assert.Nil(t, unmarshal[*int](t, `N;`))
	assert.Equal(t, 5, **unmarshal[**int](t, `i:5;`))
	assert.Equal(t, []any{int64(1), "b"}, unmarshal[any](t, `a:2:{i:0;i:1;i:1;s:1:"b";}`))
	assert.Equal(t, map[any]any{int64(1): int64(1), "b": nil}, unmarshal[any](t, `a:2:{i:1;i:1;s:1:"b";N;}`))
	assert.Equal(t, []int{3, 2}, unmarshal[[]int](t, `a:3:{i:5;i:1;i:0;i:2;i:5;i:3;}`), "a key twice: the last value, at the first's place")
	assert.Equal(t, [2]string{"a", "b"}, unmarshal[[2]string](t, `a:2:{i:0;s:1:"a";i:1;s:1:"b";}`))
	assert.Equal(t, map[int8]bool{-1: true}, unmarshal[map[int8]bool](t, `a:1:{s:2:"-1";b:1;}`))
	assert.Equal(t, array{{Key: "b", Value: &value{V: int64(1)}}, {Key: int64(7), Value: &value{V: nil}}}, unmarshal[array](t, `a:2:{s:1:"b";i:1;s:1:"7";N;}`))
	assert.Equal(t, phpsession.Enum{Class: `A\B`, Case: "C"}, unmarshal[any](t, `E:5:"A\B:C";`))
	assert.Equal(t, []pair{{Key: "5", Value: &value{V: int64(2)}}}, unmarshal[*object](t, `O:1:"A":2:{s:1:"5";i:1;i:5;i:2;}`).Properties)

	p := unmarshal[profile](t, "O:1:\"U\":8:{s:2:\"id\";i:3;s:7:\"\x00*\x00name\";s:1:\"n\";s:8:\"\x00U\x00email\";s:3:\"a@b\";s:4:\"tags\";a:1:{i:0;s:1:\"t\";}"+
		"s:5:\"extra\";a:1:{s:1:\"k\";d:1.5;}s:4:\"Deep\";s:1:\"d\";s:7:\"Skipped\";i:1;s:6:\"secret\";i:1;}")
	assert.Equal(t, 3, p.ID)
	assert.Equal(t, "n", p.Name)
	assert.Equal(t, "a@b", *p.Email)
	assert.Equal(t, []string{"t"}, p.Tags)
	assert.Equal(t, map[string]any{"k": 1.5}, p.Extra)
	assert.Zero(t, p.Skipped+p.secret)
	type outer struct {
		In map[string]int
		P  base
	}
	assert.Equal(t, outer{In: map[string]int{"b": 2}}, unmarshal[outer](t, `a:4:{s:2:"In";a:1:{s:1:"a";i:1;}s:1:"P";a:1:{s:2:"id";i:5;}s:2:"In";a:1:{s:1:"b";i:2;}s:1:"P";a:0:{}}`), "nothing of the first value")

	// References, into types of their own.
	type refs struct {
		A, B []string
		C, D *value
	}
	r := unmarshal[refs](t, `a:4:{s:1:"A";a:1:{i:0;s:1:"x";}s:1:"B";R:2;s:1:"C";i:1;s:1:"D";R:4;}`)
	assert.Equal(t, r.A, r.B)
	assert.Same(t, r.C, r.D, "pairs and pointers to Values share")

	zone, err := time.LoadLocation("Europe/Berlin")
	require.NoError(t, err)
	const date = `s:4:"date";s:26:"2024-02-03 04:05:06.700000";`
	assert.True(t, time.Date(2024, 2, 3, 4, 5, 6, 7e8, zone).Equal(unmarshal[time.Time](t, `O:8:"DateTime":3:{`+date+`s:13:"timezone_type";i:3;s:8:"timezone";s:13:"Europe/Berlin";}`)))
	assert.True(t, time.Date(2024, 2, 3, 2, 5, 6, 7e8, time.UTC).Equal(unmarshal[time.Time](t, `O:8:"DateTime":3:{`+date+`s:13:"timezone_type";i:1;s:8:"timezone";s:6:"+02:00";}`)))
	for _, name := range []string{`3:"UTC"`, `1:"Z"`, `3:"GMT"`} { // abbreviations: of new DateTime('Sat, 03 Feb 2024 04:05:06 GMT'), say
		assert.True(t, time.Date(2024, 2, 3, 4, 5, 6, 7e8, time.UTC).Equal(unmarshal[time.Time](t, `O:8:"DateTime":3:{`+date+`s:13:"timezone_type";i:2;s:8:"timezone";s:`+name+`;}`)), name)
	}
}

func TestUnmarshalErrors(t *testing.T) {
	for _, c := range []struct {
		data string
		into any
		want string
	}{
		{`i:5;`, nil, "is no pointer to decode into"},
		{`i:5;`, 7, "a int is no pointer to decode into"},
		{`i:300;`, new(int8), "at offset 0: an int of PHP does not decode as a Go int8"},
		{`i:-1;`, new(uint), "an int of PHP does not decode as a Go uint"},
		{`i:9007199254740993;`, new(float64), "an int of PHP does not decode as a Go float64"},
		{`d:1;`, new(int), "a float of PHP does not decode as a Go int"},
		{`s:1:"x";`, new(int), "a string of PHP does not decode as a Go int"},
		{`a:1:{i:0;s:1:"x";}`, new([]int), "at offset 9: a string"},
		{`a:1:{s:1:"a";i:1;}`, new([]int), "an array of PHP does not decode as a Go []int"},
		{`a:1:{i:0;i:1;}`, new([2]int), "an array of PHP does not decode as a Go [2]int"},
		{`a:1:{s:1:"a";i:1;}`, new(map[int]int), "a string of PHP does not decode as a Go int"},
		{`O:1:"A":0:{}`, new([]int), "an object of PHP does not decode as a Go []int"},
		{`E:3:"A:B";`, new(string), "an enum of PHP does not decode as a Go string"},
		{`i:1;`, new(array), "an int of PHP does not decode as a Go phpsession.Array"},
		{`a:0:{}`, new(object), "an array of PHP does not decode as a Go phpsession.Object"},
		{`C:1:"A":0:{}`, new(object), "an object of PHP does not decode as a Go phpsession.Object"},
		{`O:1:"A":0:{}`, new(phpsession.Custom), "an object of PHP does not decode as a Go phpsession.Custom"},
		{`s:1:"A";`, new(phpsession.Enum), "a string of PHP does not decode as a Go phpsession.Enum"},
		{`O:8:"DateTime":0:{}`, new(time.Time), "does not decode as a Go time.Time"},
		{`O:8:"DateTime":3:{s:4:"date";s:26:"2024-02-03 04:05:06.700000";s:13:"timezone_type";i:2;s:8:"timezone";s:3:"EST";}`, new(time.Time), "an object of PHP does not decode as a Go time.Time"},
		{`a:1:{i:0;R:1;}`, new(any), "references make the value much larger than its data, or endless"},
		{`a:2:{i:0;s:600000:"` + strings.Repeat("x", 600000) + `";i:1;a:9:{i:0;R:2;i:1;R:2;i:2;R:2;i:3;R:2;i:4;R:2;i:5;R:2;i:6;R:2;i:7;R:2;i:8;R:2;}}`, new(any), "much larger than its data"},
		{`a:2:{i:0;R:0;i:1;i:1;}`, new(any), "a reference to the session itself"},
	} {
		err := phpsession.PHP{}.Unmarshal([]byte(c.data), c.into)
		require.ErrorContains(t, err, c.want)
	}
	// The same as a tree has no copies.
	v := unmarshal[value](t, `a:1:{i:0;R:1;}`)
	assert.Len(t, v.V, 1)
}

// TestBombs: little data never takes much memory, and is decoded or refused.
func TestBombs(t *testing.T) {
	var doubling strings.Builder // each array has the one before twice
	doubling.WriteString(`a:41:{i:0;a:1:{i:0;i:1;}i:1;a:2:{i:0;R:2;i:1;R:2;}`)
	for i := 2; i < 41; i++ {
		fmt.Fprintf(&doubling, `i:%d;a:2:{i:0;R:%d;i:1;R:%d;}`, i, i+2, i+2)
	}
	doubling.WriteString(`}`)
	type ( // that go as deep as references to the array around them do
		list    []list
		table   map[string]table
		numbers map[int]numbers
		keys    map[any]keys
	)
	for name, c := range map[string]struct {
		data string
		tree bool // decodes as a tree, at least
	}{
		"doubling":    {doubling.String(), true},
		"endless":     {`a:2:{i:0;R:1;i:1;s:4000000:"` + strings.Repeat("x", 4000000) + `";}`, true},
		"a count":     {`a:1000000000:{`, false},
		"int64":       {`a:9223372036854775807:{}`, false},
		"more":        {`a:99999999999999999999999:{}`, false},
		"properties":  {`O:1:"A":1000000000:{}`, false},
		"a length":    {`s:1000000000:"a";`, false},
		"escaped":     {`S:1000000000:"a";`, false},
		"custom":      {`C:1:"A":1000000000:{}`, false},
		"an enum":     {`E:1000000000:"A:B";`, false},
		"digits":      {`i:` + strings.Repeat("9", 100000) + `;`, true},
		"negative":    {`s:-5:"a";`, false},
		"deep":        {strings.Repeat(`a:1:{i:0;`, 100000), false},
		"deep object": {strings.Repeat(`O:1:"A":1:{s:0:"";`, 100000), false},
		"counts":      {strings.Repeat(`a:10000:{i:0;`, 4000), false},
		"of a group":  {`&0123456789abcdef` + strings.Repeat(`a:4000:{i:0;`, 4000) + `&a:1:{i:0;R:@17;}&0000bb92`, false},
		"handles": {`a:2:{i:0;O:1:"A":1:{s:1:"x";s:100000:"` + strings.Repeat("x", 100000) + `";}i:1;a:9:{` +
			`i:0;r:2;i:1;r:2;i:2;r:2;i:3;r:2;i:4;r:2;i:5;r:2;i:6;r:2;i:7;r:2;i:8;r:2;}}`, true},
		"the array around":       {repeat(64<<10, "a:%d:{", "i:%d;R:1;", "}"), true},
		"the array around, last": {repeat(64<<10, "a:2:{i:0;a:%d:{", "i:%d;N;", "}i:1;R:1;}"), true},
		"the object around":      {repeat(96<<10, `O:1:"A":%d:{`, "i:%d;r:1;", "}"), true},
		"the object around by R": {repeat(96<<10, `O:1:"A":%d:{`, "i:%d;R:1;", "}"), true},
		"the array of a group":   {`&0123456789abcdef` + repeat(64<<10, "a:%d:{", "i:%d;R:@17;", "}") + `&00000011`, true},
	} {
		var before, after runtime.MemStats
		for _, into := range []any{
			new(any), new(map[string]any), new([]any), new(list), new(table), new(numbers), new(keys), new([]map[any]array), new(value),
		} {
			runtime.ReadMemStats(&before)
			err := phpsession.PHP{}.Unmarshal([]byte(c.data), into)
			runtime.ReadMemStats(&after)
			assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(40<<20+100*len(c.data)), "%s into a %T", name, into)
			if _, tree := into.(*value); tree {
				assert.Equal(t, c.tree, err == nil, "%s: %v", name, err)
			}
		}
		if strings.HasPrefix(c.data, "&") { // which is never stored
			continue
		}
		_, err := phpsession.PHP{}.Split([]byte("k|" + c.data))
		assert.Equal(t, c.tree, err == nil, "%s: %v", name, err)
	}
}

func TestArrayAndObject(t *testing.T) {
	var a array
	a.Set("b", 1)
	a.Set("7", 2)
	shared := a.Get(7)
	a.Set(7, value{V: 3})
	assert.Equal(t, 3, shared.V, "who shares it sees it")
	assert.Same(t, shared, a.Get("7"))
	assert.Same(t, shared, a.Get(int64(7)))
	assert.Nil(t, a.Get("c"))
	assert.Equal(t, "b", a[0].Key)

	// A *Value is copied, as PHP's $a['k'] = $a['j'] does, in each depth of arrays.
	a.Set("copy", a.Get(7))
	a.Set(7, 4)
	assert.Equal(t, 3, a.Get("copy").V)
	a.Set("copy", a.Get("copy"))
	assert.Equal(t, 3, a.Get("copy").V)
	a.Set("copy", (*value)(nil))
	assert.Equal(t, value{}, *a.Get("copy"))
	got := unmarshal[array](t, `a:1:{s:1:"j";a:3:{i:0;a:1:{i:0;i:1;}i:1;R:3;i:2;O:1:"A":1:{s:1:"x";i:2;}}}`)
	got.Set("k", got.Get("j"))
	encoded, err := phpsession.PHP{}.Marshal(got)
	require.NoError(t, err)
	assert.Equal(t, `a:2:{s:1:"j";a:3:{i:0;a:1:{i:0;i:1;}i:1;R:3;i:2;O:1:"A":1:{s:1:"x";i:2;}}s:1:"k";a:3:{i:0;a:1:{i:0;i:1;}i:1;R:8;i:2;r:5;}}`, string(encoded))
	loop := unmarshal[value](t, `a:1:{i:0;R:1;}`)
	got.Set("j", &loop)
	me := got.Get("j").V.(array).Get(0)
	assert.NotSame(t, loop.V.(array).Get(0), me)
	assert.Same(t, me, me.V.(array).Get(0))

	o := object{Class: "A", Properties: []pair{{Key: "x", Value: &value{V: 1}}, {Key: "\x00*\x00y", Value: &value{V: 2}}, {Key: "\x00A\x00z", Value: &value{V: 3}}, {Key: int64(4), Value: &value{V: 4}}}}
	for i, name := range []string{"x", "y", "z", "4"} {
		assert.Equal(t, i+1, o.Get(name).V)
	}
	assert.Nil(t, o.Get("\x00*\x00y"))
	_, visibility, class := o.Properties[2].Property()
	assert.Equal(t, []string{"private", "A"}, []string{visibility, class})
	_, visibility, _ = pair{Key: "\x00\x00odd"}.Property()
	assert.Equal(t, "public", visibility)
}

// TestJoinRefuses: what Join cannot write as PHP would read it is an error, that names the key.
func TestJoinRefuses(t *testing.T) {
	split := func(data string) []dynasession.KeyValue {
		values, err := phpsession.PHP{}.Split([]byte(data))
		require.NoError(t, err)
		return values
	}
	ofOne := split(`a|i:1;b|R:1;`)
	forged := append([]byte{}, ofOne[1].Value...)
	forged[bytes.Index(forged, []byte("i:1"))+2] = '2'
	cut := ofOne[1].Value[:len(ofOne[1].Value)-1]
	type values = []dynasession.KeyValue
	one := func(value string) values { return values{{Key: "k", Value: []byte(value)}} }
	for _, c := range []struct {
		codec  dynasession.Codec
		values values
		want   string
	}{
		{phpsession.PHP{}, values{{Key: "a|b", Value: []byte("N;")}}, `holds a "|"`},
		{phpsession.PHPBinary{}, values{{Key: strings.Repeat("k", 128), Value: []byte("N;")}}, `a key of 128 bytes`},
		{phpsession.PHP{}, one(``), `key "k": phpsession: at offset 0: expected a value`},
		{phpsession.PHP{}, one(`N;N;`), `at offset 2: expected nothing after the value`},
		{phpsession.PHP{}, one(`a:1:{i:0;R:2;}`), `at offset 9: expected the number of a value before it`},
		{phpsession.PHP{}, one(`a:1:{i:0;r:1;}`), `at offset 9: expected the number of an object`},
		{phpsession.PHP{}, one(`a:1:{i:0;R:0;}`), `at offset 9: expected the number of a value before it`},
		{phpsession.PHP{}, one(`R:@17;`), `expected the number of a value`},
		{phpsession.PHPSerialize{}, one(strings.Repeat(`a:1:{i:0;`, 4096) + `N;` + strings.Repeat(`}`, 4096)), `at most 4096 levels`},
		{phpsession.PHP{}, values{ofOne[0], {Key: "b", Value: forged}}, "another session"},
		{phpsession.PHP{}, values{{Key: "b", Value: forged[:len(forged)-9]}}, "expected a value"},
		{phpsession.PHP{}, values{{Key: "b", Value: cut}}, "expected a value"},
		{phpsession.PHP{}, one(`&0123456789abcdefi:1;i:2;&00000011`), `at offset 21: expected the end of a value`},
		{phpsession.PHP{}, one(`&0123456789abcdefa:1:{i:0;R:@20;}&00000011`), `expected the offset of a value before it`},
		{phpsession.PHP{}, one(`&0123456789abcdefa:1:{i:0;r:@17;}&00000011`), `expected the offset of a value before it`},
		{phpsession.PHP{}, one(`&0123456789abcdefa:2:{i:0;N;i:0;N;}&00000011`), `at offset 28: expected a key that is not there yet`},
		{phpsession.PHP{}, one(`&0123456789abcdefa:1:{i:0;R:0;}&00000011`), `the session itself`},
	} {
		_, err := c.codec.Join(c.values)
		require.ErrorContains(t, err, c.want)
	}
	// Deeper than PHP reads, once a value that was shared is written in full.
	deep := func(levels int, inner string) string {
		return strings.Repeat(`a:1:{i:0;`, levels) + inner + strings.Repeat(`}`, levels)
	}
	kept := split(`a|` + deep(4000, `N;`) + `b|` + deep(4000, `R:1;`))
	_, err := phpsession.PHP{}.Join(kept)
	require.NoError(t, err)
	_, err = phpsession.PHP{}.Join(kept[1:])
	require.ErrorContains(t, err, "more than 4096 levels")
	// Values of two sessions stay apart.
	other := split(`a|i:5;b|R:1;`)
	joined, err := phpsession.PHP{}.Join(values{ofOne[0], {Key: "c", Value: other[0].Value}, ofOne[1], {Key: "d", Value: other[1].Value}})
	require.NoError(t, err)
	assert.Equal(t, `a|i:1;c|i:5;b|R:1;d|R:2;`, string(joined))
}

// TestRenumbering: a key that changes moves the numbers of the others.
func TestRenumbering(t *testing.T) {
	const data = `x|i:1;a|a:1:{i:0;i:5;}b|a:2:{i:0;R:3;i:1;O:1:"A":0:{}}y|s:1:"y";c|r:5;own|a:2:{i:0;i:7;i:1;R:9;}`
	for _, c := range []struct {
		set  map[string]any
		drop string
		want string
	}{
		{nil, "", data},
		{map[string]any{"y": 2}, "", strings.Replace(data, `s:1:"y"`, `i:2`, 1)},
		{map[string]any{"x": []int{1, 2}}, "", `x|a:2:{i:0;i:1;i:1;i:2;}a|a:1:{i:0;i:5;}b|a:2:{i:0;R:5;i:1;O:1:"A":0:{}}y|s:1:"y";c|r:7;own|a:2:{i:0;i:7;i:1;R:11;}`},
		{nil, "x", `a|a:1:{i:0;i:5;}b|a:2:{i:0;R:2;i:1;O:1:"A":0:{}}y|s:1:"y";c|r:4;own|a:2:{i:0;i:7;i:1;R:8;}`},
		// Who is set has a value of its own; the others go on sharing.
		{map[string]any{"a": 1}, "", `x|i:1;a|i:1;b|a:2:{i:0;i:5;i:1;O:1:"A":0:{}}y|s:1:"y";c|r:5;own|a:2:{i:0;i:7;i:1;R:9;}`},
		{nil, "b", `x|i:1;a|a:1:{i:0;i:5;}y|s:1:"y";c|O:1:"A":0:{}own|a:2:{i:0;i:7;i:1;R:7;}`},
	} {
		values, err := phpsession.PHP{}.Split([]byte(data))
		require.NoError(t, err)
		var out []dynasession.KeyValue
		for _, kv := range values {
			if v, ok := c.set[kv.Key]; ok {
				kv.Value, err = phpsession.PHP{}.Marshal(v)
				require.NoError(t, err)
			}
			if kv.Key != c.drop {
				out = append(out, kv)
			}
		}
		joined, err := phpsession.PHP{}.Join(out)
		require.NoError(t, err)
		assert.Equal(t, c.want, string(joined))
	}
}
