package phpsession_test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/dynamotest"
	"github.com/dynasession/dynasession/phpsession"
)

// realPHP is a process of php that does with sessions what testdata/worker.php says.
type realPHP struct {
	t   testing.TB
	in  io.Writer
	out *bufio.Reader
}

type phpAnswer struct {
	Data        []byte
	Description []any
	Error       string
}

func startPHP(t testing.TB, handler string) *realPHP {
	t.Helper()
	path, err := exec.LookPath("php")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("there is no php: the package php-cli has it")
		}
		t.Skip("there is no php: the package php-cli has it")
	}
	cmd := exec.CommandContext(t.Context(), path, "-n", "-d", "session.serialize_handler="+handler, "-d", "serialize_precision=-1",
		"-d", "display_errors=stderr", "-d", "error_reporting=24575", "testdata/worker.php")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	return &realPHP{t, in, bufio.NewReaderSize(out, 1<<20)}
}

func (p *realPHP) ask(op string, data []byte, code string) phpAnswer {
	p.t.Helper()
	line, err := json.Marshal(map[string]any{"op": op, "data": append([]byte{}, data...), "code": code})
	require.NoError(p.t, err)
	_, err = p.in.Write(append(line, '\n'))
	require.NoError(p.t, err)
	line, err = p.out.ReadBytes('\n')
	require.NoError(p.t, err)
	var a phpAnswer
	require.NoError(p.t, json.Unmarshal(line, &a))
	return a
}

// change is a request of PHP that runs code on $s, its $_SESSION.
func (p *realPHP) change(data []byte, code string) phpAnswer {
	p.t.Helper()
	a := p.ask("change", data, code)
	require.Empty(p.t, a.Error)
	return a
}

// otherBytes are those of the vectors that PHP writes anew in its own way, with the same meaning.
var otherBytes = map[string]bool{
	"float 1/3 with serialize_precision 17": true,
	"enum under two top-level keys":         true, // a case that Go has set in one key is written again in the other
}

// TestPHPReadsWhatGoWrites: each value of the vectors, through Go and back, in a session with
// others before it.
func TestPHPReadsWhatGoWrites(t *testing.T) {
	for handler, codec := range codecs {
		php := startPHP(t, handler)
		for _, v := range vectors[codecVector](t, "php-codec.json") {
			h := v.Handlers[handler]
			if h.Raw == nil {
				continue
			}
			values, err := codec.Split(h.Raw)
			require.NoError(t, err)
			for _, touched := range []int{-1, 0, len(values) - 1} {
				out := append([]dynasession.KeyValue{}, values...)
				if touched >= len(values) {
					continue
				}
				if touched >= 0 {
					var x phpsession.Value
					require.NoError(t, codec.Unmarshal(out[touched].Value, &x))
					out[touched].Value, err = codec.Marshal(x)
					require.NoError(t, err)
				}
				front, err := codec.Marshal(map[string]any{"a": []int{1, 2, 3}, "b": nil})
				require.NoError(t, err)
				out = append([]dynasession.KeyValue{{Key: "in front", Value: front}}, out...)
				data, err := codec.Join(out)
				require.NoError(t, err)
				answer := php.ask("describe", data, "")
				require.Empty(t, answer.Error, "%s %s", handler, v.Name)
				assert.Equal(t, described(answer.Description), described(describe(t, out)), "%s %s", handler, v.Name)
				if !otherBytes[v.Name] {
					assert.Equal(t, string(answer.Data), string(data), "%s %s: PHP writes it as Go does", handler, v.Name)
				}
			}
		}
	}
}

// TestClassNames: Go takes the names of classes that PHP takes.
func TestClassNames(t *testing.T) {
	php := startPHP(t, "php")
	for _, c := range []struct {
		data string
		ok   bool
	}{
		{`O:3:"A\B":0:{}`, true}, {`C:3:"A\B":0:{}`, true}, {`E:12:"\Suit:Hearts";`, true}, {`O:2:"A\":0:{}`, true}, {`O:2:"9A":0:{}`, true},
		{`O:3:"Aé":0:{}`, true},
		{`O:2:"\A":0:{}`, false}, {`C:7:"\Legacy":0:{}`, false}, {`O:1:"\":0:{}`, false},
		{"O:2:\"A\x7f\":0:{}", false}, {"C:2:\"A\x7f\":0:{}", false}, {"O:2:\"A\x00\":0:{}", false}, {`O:2:"A-":0:{}`, false},
	} {
		data := []byte(`a|` + c.data)
		assert.Equal(t, c.ok, php.ask("describe", data, "").Error == "", "PHP: %q", data)
		_, err := phpsession.PHP{}.Split(data)
		assert.Equal(t, c.ok, err == nil, "Go: %q: %v", data, err)
	}
}

// TestNumericKeys: only php_serialize has int keys. In the other formats PHP keeps "5" as it is, but does not find it.
func TestNumericKeys(t *testing.T) {
	for handler, codec := range codecs {
		data, err := codec.Join([]dynasession.KeyValue{{Key: "5", Value: []byte("i:1;")}})
		require.NoError(t, err)
		after := startPHP(t, handler).change(data, `$s['found'] = isset($s['5']);`)
		values, err := codec.Split(after.Data)
		require.NoError(t, err)
		found := map[bool]string{true: `b:1;`, false: `b:0;`}[handler == "php_serialize"]
		assert.Equal(t, found, string(values[len(values)-1].Value), handler)
	}
}

// TestLookupIsCakes: Lookup finds what CakePHP's Hash::get finds in PHP's own objects that are read as arrays.
func TestLookupIsCakes(t *testing.T) {
	paths := []string{"id", "user.x", "user", "list.0.id", "0", "1", "1.id", "2", "own", "pro", "none", "user.none", "null"}
	quoted, err := json.Marshal(paths)
	require.NoError(t, err)
	php := startPHP(t, "php")
	php.change(nil, `class Bag extends ArrayObject { public $own = 1; protected $pro = 2; }
		class Items extends ArrayIterator {}
		class Own extends ArrayObject { public $id = 7; public $user = ['x' => 3]; function __construct() { parent::__construct($this); } }
		class Plainly { public $id = 7; public $user = ['x' => 3]; }`)
	for _, code := range []string{
		`new ArrayObject($a)`, `new ArrayIterator($a)`, `new RecursiveArrayIterator($a)`, `new Bag($a)`, `new Items($a)`, `new Own`,
		`new ArrayObject(new Plainly)`, `new ArrayObject(new Bag($a))`, `(new ArrayObject($a))->getIterator()`, `new Bag(new Items(new Own))`,
		`new ArrayObject($a, ArrayObject::ARRAY_AS_PROPS, 'Items')`, `new ArrayObject([])`, `new ArrayObject([5, ['id' => 6]])`,
		`new ArrayObject(['id' => &$s['before'], 'user' => new Bag(['x' => 3])])`, `['user' => $s['bag'], 'id' => 7]`, `new Items($s['bag'])`,
	} {
		made := php.change(nil, `$a = ['id' => 7, 'user' => ['x' => 3], 'list' => [new ArrayObject(['id' => 8])], 'null' => null];
			$s['before'] = 5; $s['bag'] = new Bag($a); $s['Auth'] = `+code+`;
			$s['found'] = [];
			foreach (`+string(quoted)+` as $path) {
				$data = $s['Auth'];
				foreach (explode('.', $path) as $key) {
					$data = (is_array($data) || $data instanceof ArrayAccess) && isset($data[$key]) ? $data[$key] : null;
				}
				$s['found'][$path] = $data;
			}`)
		withPHP(t, string(made.Data), func(_ *shared, s *dynasession.Session) {
			want, ok := dynasession.Get[map[string]any](s, "found")
			require.True(t, ok, code)
			for _, path := range paths {
				got, ok := phpsession.Lookup[any](s, "Auth."+path)
				assert.Equal(t, want[path], got, "%s: %s", code, path)
				assert.Equal(t, want[path] != nil, ok, "%s: %s", code, path)
			}
		})
	}
}

// TestRound lets PHP make sessions, Go change one key, and PHP then change another.
func TestRound(t *testing.T) {
	const sessions = 400 // in each format
	for handler, codec := range codecs {
		t.Run(handler, func(t *testing.T) {
			t.Parallel()
			srv := dynamotest.NewServer()
			defer srv.Close()
			cfg := phpsession.Config("")
			cfg.Codec, cfg.BinaryData = codec, true
			sh, php := share(t, srv.Client(), cfg), startPHP(t, handler)
			unread := 0
			for seed := range sessions {
				sh.id = fmt.Sprintf("%032d", seed)
				if !round(t, php, sh, seed) {
					unread++
				}
			}
			require.Less(t, unread, sessions/50)
		})
	}
}

// round returns false for a session that PHP itself does not read again, as some with references into what is in an
// SplObjectStorage.
func round(t *testing.T, php *realPHP, sh *shared, seed int) bool {
	t.Helper()
	random, codec := rand.New(rand.NewPCG(1, uint64(seed))), sh.cfg.Codec
	fail := fmt.Sprintf("seed %d", seed)
	made := php.ask("random", nil, strconv.Itoa(seed))
	// As PHP itself reads it: a reference to an object beside a plain handle of it looks the same on the wire.
	made = php.ask("describe", made.Data, "")
	if made.Error != "" {
		return false
	}
	values, err := codec.Split(made.Data)
	require.NoError(t, err, fail)
	require.Equal(t, described(made.Description), described(describe(t, values)), fail)

	// Go sets a key, a new one at times, with a value of the session at times.
	mine := random.IntN(len(values) + 1)
	changed := append([]dynasession.KeyValue{}, values...)
	if mine == len(values) {
		changed = append(changed, dynasession.KeyValue{Key: "new"})
	}
	k := changed[mine].Key
	sh.phpWrites(string(made.Data))
	require.Equal(t, http.StatusOK, sh.request(func(s *dynasession.Session) {
		var x any = map[string]any{"n": seed, "list": []string{"a", "b"}}
		if random.IntN(2) == 0 {
			var tree phpsession.Value
			require.NoError(t, s.Decode(values[random.IntN(len(values))].Key, &tree), fail)
			x = tree
		}
		s.Set(k, x)
		changed[mine].Value, err = codec.Marshal(x)
		require.NoError(t, err, fail)
	}).Code, fail)
	require.NoError(t, sh.err, fail)
	ofGo := sh.data(sh.item())
	seen := php.ask("describe", ofGo, "")
	require.Empty(t, seen.Error, fail)
	require.Equal(t, described(seen.Description), described(describe(t, changed)), fail)

	// What Go did not set is what it was, and shares what it shared: PHP says so.
	without := func(data []byte, keys ...string) any {
		code := ""
		for _, k := range keys {
			code += fmt.Sprintf("unset($s[base64_decode('%s')]);", base64.StdEncoding.EncodeToString([]byte(k)))
		}
		return described(php.ask("describe", php.change(data, code).Data, "").Description)
	}
	require.Equal(t, without(made.Data, k), without(ofGo, k), fail)

	// PHP sets another.
	j := changed[random.IntN(len(changed))].Key
	ofPHP := php.change(ofGo, fmt.Sprintf(
		"$k = base64_decode('%s'); unset($s[$k]); $none = []; mt_srand(%d); $s[$k] = random_value(3, $none);",
		base64.StdEncoding.EncodeToString([]byte(j)), seed))
	ofPHP = php.ask("describe", ofPHP.Data, "")
	after, err := codec.Split(ofPHP.Data)
	require.NoError(t, err, fail)
	require.Equal(t, described(ofPHP.Description), described(describe(t, after)), fail)
	require.Equal(t, without(made.Data, k, j), without(ofPHP.Data, k, j), fail)

	// Go reads both, and leaves the item as it is.
	sh.phpWrites(string(ofPHP.Data))
	require.Equal(t, http.StatusOK, sh.request(func(s *dynasession.Session) {
		require.Len(t, s.Keys(), len(after), fail)
		for _, kv := range after {
			var got, want phpsession.Value
			require.NoError(t, s.Decode(kv.Key, &got), fail)
			require.NoError(t, codec.Unmarshal(kv.Value, &want), fail)
			encoded, err := codec.Marshal(&want)
			require.NoError(t, err, fail)
			again, err := codec.Marshal(&got)
			require.NoError(t, err, fail)
			require.Equal(t, string(encoded), string(again), fail)
		}
	}).Code, fail)
	require.NoError(t, sh.err, fail)
	require.Equal(t, string(ofPHP.Data), string(sh.data(sh.item())), fail)
	for _, kv := range after {
		if kv.Key != k || k == j {
			continue
		}
		before, err := codec.Join([]dynasession.KeyValue{{Key: k, Value: changed[mine].Value}})
		require.NoError(t, err, fail)
		now, err := codec.Join([]dynasession.KeyValue{kv})
		require.NoError(t, err, fail)
		require.Equal(t, php.ask("describe", before, "").Description, php.ask("describe", now, "").Description, fail)
	}
	return true
}

// TestPHPWritesGoValuesAlike: what Go makes of its own values, real PHP reads, and writes byte for byte as Go did.
func TestPHPWritesGoValuesAlike(t *testing.T) {
	for handler, codec := range codecs {
		t.Run(handler, func(t *testing.T) {
			t.Parallel()
			php := startPHP(t, handler)
			for seed := range 500 {
				random := rand.New(rand.NewPCG(3, uint64(seed)))
				var values []dynasession.KeyValue
				for i := range 1 + random.IntN(5) {
					encoded, err := codec.Marshal(randomGo(random, 4))
					require.NoError(t, err)
					values = append(values, dynasession.KeyValue{Key: fmt.Sprintf("key %d", i), Value: encoded})
				}
				data, err := codec.Join(values)
				require.NoError(t, err)
				answer := php.ask("describe", data, "")
				require.Empty(t, answer.Error, "seed %d: %q", seed, data)
				require.Equal(t, string(data), string(answer.Data), "seed %d", seed)
				require.Equal(t, described(answer.Description), described(describe(t, values)), "seed %d", seed)
			}
		})
	}
}

func randomGo(random *rand.Rand, depth int) any {
	kinds := 8
	if depth > 0 {
		kinds = 14
	}
	text := func() string {
		s := make([]byte, random.IntN(8))
		for i := range s {
			s[i] = "a1\";:|\x00\xff-{}"[random.IntN(11)]
		}
		return string(s)
	}
	switch random.IntN(kinds) {
	case 0:
		return nil
	case 1:
		return random.IntN(2) == 0
	case 2:
		return random.Int64() - random.Int64()
	case 3:
		return uint8(random.IntN(256))
	case 4:
		return math.Float64frombits(random.Uint64() &^ (1 << 52)) // no NaN, which has many bits
	case 5:
		return float64(random.IntN(2000)-1000) / 8 * math.Pow10(random.IntN(40)-20)
	case 6:
		return text()
	case 7:
		return []byte(text())
	case 8:
		out := map[string]any{}
		for range random.IntN(5) {
			out[text()] = randomGo(random, depth-1)
		}
		return out
	case 9:
		out := map[int]float32{}
		for range random.IntN(5) {
			out[random.IntN(9)-4] = float32(random.IntN(99)) / 4
		}
		return out
	case 10:
		return struct {
			A any `php:"a"`
			B *int
			C []string `php:"c,omitempty"`
		}{A: randomGo(random, depth-1)}
	case 11:
		shared := &phpsession.Value{V: text()}
		return phpsession.Array{{Key: "k" + text(), Value: shared}, {Key: int64(random.IntN(3)), Value: shared}}
	case 12:
		inner := &phpsession.Value{V: randomGo(random, depth-1)}
		if _, ok := inner.V.(phpsession.Value); ok {
			return nil
		}
		o := &phpsession.Object{Class: "P" + strconv.Itoa(random.IntN(3)), Properties: []phpsession.Pair{{Key: "\x00*\x00own", Value: inner}}}
		return []any{o, o} // no enum, which PHP would write as one in all keys
	default:
		out := []any{}
		for range random.IntN(4) {
			out = append(out, randomGo(random, depth-1))
		}
		return out
	}
}
