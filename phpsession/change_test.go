package phpsession_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/dynamotest"
	"github.com/dynasession/dynasession/phpsession"
)

const frozen = `O:20:"Cake\I18n\FrozenTime":3:{s:4:"date";s:26:"2024-02-03 04:05:06.700000";s:13:"timezone_type";i:3;s:8:"timezone";s:13:"Europe/Berlin";}`

func changed(t *testing.T, data, path string, v any) string {
	t.Helper()
	return withPHP(t, data, func(_ *shared, s *dynasession.Session) { phpsession.Change(s, path, v) })
}

// TestChange: what is beside the path keeps its bytes, whatever it is.
func TestChange(t *testing.T) {
	user := func(name string) string {
		return `Auth|a:2:{s:4:"User";a:4:{s:2:"id";s:1:"7";s:4:"name";` + name + `s:7:"created";` + frozen +
			"s:4:\"rate\";d:0.10000000000000001;}s:1:\"x\";O:1:\"A\":1:{s:4:\"\x00A\x00p\";i:1;}}n|i:1;"
	}
	before := user(`s:3:"Ada";`)
	for want, v := range map[string]any{
		user(`s:5:"Grace";`): "Grace", user(`i:7;`): 7, user(`N;`): nil, user(`a:1:{i:0;s:1:"a";}`): []string{"a"},
	} {
		assert.Equal(t, want, changed(t, before, "Auth.User.name", v))
	}
	const tail = `;s:2:"id";i:7;}`
	for _, test := range []struct{ before, path, after string }{
		{`Auth|a:2:{s:1:"a";i:1` + tail, "Auth.b", `Auth|a:3:{s:1:"a";i:1;s:2:"id";i:7;s:1:"b";i:5;}`},
		{`Auth|a:2:{s:1:"a";i:1` + tail, "Auth.b.c.9", `Auth|a:3:{s:1:"a";i:1;s:2:"id";i:7;s:1:"b";a:1:{s:1:"c";a:1:{i:9;i:5;}}}`},
		{`Auth|a:0:{}`, "Auth.b", `Auth|a:1:{s:1:"b";i:5;}`},
		{`Auth|a:0:{}`, "Auth.9", `Auth|a:1:{i:9;i:5;}`},
		{`Auth|i:3;`, "Auth.b", `Auth|a:1:{s:1:"b";i:5;}`},
		{`Auth|a:1:{s:1:"b";s:1:"x";}`, "Auth.b.c", `Auth|a:1:{s:1:"b";a:1:{s:1:"c";i:5;}}`},
		{`n|i:1;`, "Auth.b", `n|i:1;Auth|a:1:{s:1:"b";i:5;}`},
		{`n|i:1;`, "n", `n|i:5;`},
		{"o|O:1:\"A\":1:{s:4:\"\x00*\x00p\";i:1;}", "o.p", "o|O:1:\"A\":1:{s:4:\"\x00*\x00p\";i:5;}"},
		{"o|O:1:\"A\":1:{s:4:\"\x00*\x00p\";i:1;}", "o.q", "o|O:1:\"A\":2:{s:4:\"\x00*\x00p\";i:1;s:1:\"q\";i:5;}"},
		{"e|O:1:\"E\":1:{s:10:\"\x00*\x00_fields\";a:1:{s:2:\"id\";i:1;}}", "e.id", "e|O:1:\"E\":1:{s:10:\"\x00*\x00_fields\";a:1:{s:2:\"id\";i:5;}}"},
		// With references, which name each other by their numbers.
		{`r|a:2:{s:1:"a";a:1:{s:1:"x";i:1;}s:1:"b";R:2;}`, "r.a.x", `r|a:2:{s:1:"a";a:1:{s:1:"x";i:5;}s:1:"b";R:2;}`},
		{`r|a:2:{s:1:"a";O:1:"A":0:{}s:1:"b";r:2;}`, "r.c", `r|a:3:{s:1:"a";O:1:"A":0:{}s:1:"b";r:2;s:1:"c";i:5;}`},
	} {
		assert.Equal(t, test.after, changed(t, test.before, test.path, 5), test.path)
	}

	// It runs again on what another request has stored meanwhile.
	after := withPHP(t, `a|a:1:{s:1:"x";i:1;}`, func(sh *shared, s *dynasession.Session) {
		phpsession.Change(s, "a.y", 2)
		sh.phpWrites(`a|a:1:{s:1:"x";i:9;}`)
	})
	assert.Equal(t, `a|a:2:{s:1:"x";i:9;s:1:"y";i:2;}`, after)
}

// TestChangeIsPHPs compares what Change does with an assignment of PHP's.
func TestChangeIsPHPs(t *testing.T) {
	php := startPHP(t, "php")
	for path, code := range map[string]string{
		"a.b": `$_SESSION['a']['b'] = 5;`, "a.x.y": `$_SESSION['a']['x']['y'] = 5;`, "a.7": `$_SESSION['a'][7] = 5;`,
		"new.one": `$_SESSION['new']['one'] = 5;`, "a.list.1": `$_SESSION['a']['list'][1] = 5;`, "a.list.9": `$_SESSION['a']['list'][9] = 5;`,
		"a.f.g": `$_SESSION['a']['f']['g'] = 5;`,
	} {
		const data = `a|a:3:{s:1:"b";s:1:"x";s:4:"list";a:3:{i:0;i:1;i:1;i:2;i:2;i:3;}s:1:"f";a:1:{s:1:"g";d:0.5;}}`
		want := php.change([]byte(data), code)
		require.Empty(t, want.Error)
		assert.Equal(t, string(want.Data), changed(t, data, path, 5), path)
	}
}

func TestNumericStrings(t *testing.T) {
	data := `u|a:8:{s:2:"id";s:1:"7";s:3:"big";s:19:"9223372036854775807";s:4:"text";s:2:"x7";s:5:"space";s:4:" 42 ";s:4:"rate";s:4:"0.50";` +
		`s:3:"exp";s:3:"1e3";s:3:"int";i:7;s:5:"float";d:0.1;}`
	withPHP(t, data, func(_ *shared, s *dynasession.Session) {
		found(t, s, "u.id", 7)
		found(t, s, "u.id", uint8(7))
		found(t, s, "u.id", 7.0)
		found(t, s, "u.id", "7")
		found(t, s, "u.big", int64(9223372036854775807))
		missing[int32](t, s, "u.big")
		missing[int](t, s, "u.text")
		found(t, s, "u.space", 42)
		found(t, s, "u.rate", 0.5)
		missing[int](t, s, "u.rate")
		found(t, s, "u.exp", 1000)
		found(t, s, "u.int", "7")
		found(t, s, "u.float", "0.1")
		for _, odd := range []string{"0x10", "1_000", "inf", "NaN", "", "-", "+", ".", "e5"} {
			var n int
			require.Error(t, phpsession.PHP{}.Unmarshal([]byte(`s:`+num(int64(len(odd)))+`:"`+odd+`";`), &n), odd)
		}
	})
	for text, exact := range map[string]map[string]bool{ // by Go's type
		"9007199254740993":      {"int64": true, "uint64": true, "float64": false}, // 2^53 + 1
		"9007199254740993.0":    {"int64": true, "uint64": true, "float64": true},  // a float to PHP
		"9007199254740992":      {"int64": true, "uint64": true, "float64": true},
		"18446744073709551615":  {"int64": false, "uint64": true, "float64": false},
		"18446744073709551616":  {"int64": false, "uint64": false, "float64": true},
		"-9223372036854775808":  {"int64": true, "uint64": false, "float64": true},
		"1e18":                  {"int64": true, "uint64": true, "float64": true},
		"1e-400":                {"int64": false, "uint64": false, "float64": true},
		"0e999999999":           {"int64": true, "uint64": true, "float64": true},
		"1e-999999999":          {"int64": false, "uint64": false, "float64": true},
		"1e999999999":           {"int64": false, "uint64": false, "float64": false},
		"16777217":              {"int64": true, "uint64": true, "float32": false},
		"1.5":                   {"int64": false, "uint64": false, "float32": true, "float64": true},
		"123456789012345678e-9": {"int64": false, "uint64": false, "float64": true},
	} {
		data := []byte(`s:` + num(int64(len(text))) + `:"` + text + `";`)
		for kind, want := range exact {
			v := map[string]any{"int64": new(int64), "uint64": new(uint64), "float64": new(float64), "float32": new(float32)}[kind]
			err := phpsession.PHP{}.Unmarshal(data, v)
			assert.Equal(t, want, err == nil, "%s as %s", text, kind)
		}
	}
	var n int64
	require.NoError(t, phpsession.PHP{}.Unmarshal([]byte(`s:18:"9007199254740993.0";`), &n))
	assert.Equal(t, int64(9007199254740993), n)
	php := startPHP(t, "php")
	for _, f := range []string{"0.1", "1.0", "1e14", "1e15", "1e25", "0.0001", "0.00001", "-1.5e-7", "123456789012345678", "0.30000000000000004", "1.5"} {
		want := php.change(nil, `$_SESSION['t'] = (string) (float) `+f+`; $_SESSION['f'] = (float) `+f+`;`)
		require.Empty(t, want.Error)
		withPHP(t, string(want.Data), func(_ *shared, s *dynasession.Session) {
			text, ok := phpsession.Lookup[string](s, "t")
			require.True(t, ok)
			found(t, s, "f", text)
		})
	}
}

func TestCakeFlash(t *testing.T) {
	const saved = `a:4:{s:7:"message";s:5:"Saved";s:3:"key";s:5:"flash";s:7:"element";s:13:"Flash/success";s:6:"params";a:0:{}}`
	one := `Flash|a:1:{s:5:"flash";a:1:{i:0;` + saved + `}}`
	flash := func(_ *shared, s *dynasession.Session) { phpsession.CakeFlash(s, "Saved", "success") }
	assert.Equal(t, `n|i:1;`+one, withPHP(t, `n|i:1;`, flash))
	assert.Equal(t, `Flash|a:1:{s:5:"flash";a:2:{i:0;`+saved+`i:1;`+saved+`}}`, withPHP(t, one, flash))
	assert.Equal(t, `Flash|a:2:{s:4:"auth";i:1;s:5:"flash";a:1:{i:0;`+saved+`}}`, withPHP(t, `Flash|a:1:{s:4:"auth";i:1;}`, flash))
	assert.Equal(t, one, withPHP(t, `Flash|a:1:{s:5:"flash";s:5:"plain";}`, flash), "which CakePHP could not show")
	for element, want := range map[string]string{"": "Flash/default", "error": "Flash/error", "Admin.notice": "Admin.Flash/notice", "Flash/mine": "Flash/mine"} {
		after := withPHP(t, `n|i:1;`, func(_ *shared, s *dynasession.Session) { phpsession.CakeFlash(s, "x", element) })
		assert.Contains(t, after, `"`+want+`"`)
	}

	gaps := `Flash|a:1:{s:5:"flash";a:2:{i:3;` + saved + `i:1;` + saved + `}}`
	assert.Equal(t, `Flash|a:1:{s:5:"flash";a:3:{i:3;`+saved+`i:1;`+saved+`i:4;`+saved+`}}`, withPHP(t, gaps, flash), "as PHP's [] counts")
	assert.Equal(t, `Flash|a:2:{s:1:"f";d:0.10000000000000001;s:5:"flash";a:1:{i:0;`+saved+`}}`,
		withPHP(t, `Flash|a:1:{s:1:"f";d:0.10000000000000001;}`, flash))
}

func TestCakeFlashes(t *testing.T) {
	message := func(text string) string {
		return `a:4:{s:7:"message";s:` + num(int64(len(text))) + `:"` + text + `";s:3:"key";s:5:"flash";s:7:"element";s:13:"flash/success";` +
			`s:6:"params";a:1:{s:5:"class";s:3:"big";}}`
	}
	list := func(pairs ...string) string {
		return `Flash|a:2:{s:4:"auth";i:1;s:5:"flash";a:` + num(int64(len(pairs))) + `:{` + strings.Join(pairs, "") + `}}`
	}
	const empty = `Flash|a:1:{s:4:"auth";i:1;}`
	take := func(data string, meanwhile ...string) (after string, texts []string) {
		after = withPHP(t, data, func(sh *shared, s *dynasession.Session) {
			for _, m := range phpsession.CakeFlashes(s) {
				assert.Equal(t, "flash", m.Key)
				texts = append(texts, m.Message)
			}
			for _, data := range meanwhile {
				sh.phpWrites(data)
			}
		})
		return after, texts
	}
	for _, test := range []struct {
		before, meanwhile, after string
		texts                    []string
	}{
		{before: list(`i:0;`+message("a"), `i:1;`+message("b")), after: empty, texts: []string{"a", "b"}},
		// Another request adds one, or takes one that this one has taken too.
		{list(`i:0;` + message("a")), list(`i:0;`+message("a"), `i:1;`+message("b")), list(`i:1;` + message("b")), []string{"a"}},
		{list(`i:0;` + message("a")), list(`i:0;`+message("a"), `i:1;`+message("a")), list(`i:1;` + message("a")), []string{"a"}},
		{list(`i:0;`+message("a"), `i:1;`+message("b")), list(`i:1;` + message("b")), empty, []string{"a", "b"}},
		{list(`i:0;` + message("a")), empty, empty, []string{"a"}},
		// What is no message stays; a plain string is one, which CakePHP could not show.
		{before: list(`i:0;i:7;`, `i:1;`+message("b")), after: list(`i:0;i:7;`), texts: []string{"b"}},
		{before: list(`i:0;a:0:{}`), after: list(`i:0;a:0:{}`)},
		{before: `Flash|a:2:{s:4:"auth";i:1;s:5:"flash";s:5:"plain";}`, after: empty, texts: []string{"plain"}},
		{before: `Flash|a:2:{s:4:"auth";d:0.10000000000000001;s:5:"flash";s:5:"plain";}`, after: `Flash|a:1:{s:4:"auth";d:0.10000000000000001;}`, texts: []string{"plain"}},
		{before: `n|i:1;`, after: `n|i:1;`},
		{before: `Flash|a:0:{}`, after: `Flash|a:0:{}`},
		{before: `Flash|i:1;`, after: `Flash|i:1;`},
	} {
		var meanwhile []string
		if test.meanwhile != "" {
			meanwhile = []string{test.meanwhile}
		}
		after, texts := take(test.before, meanwhile...)
		assert.Equal(t, test.after, after, test.before)
		assert.Equal(t, test.texts, texts, test.before)
	}
	withPHP(t, list(`i:0;`+message("a")), func(_ *shared, s *dynasession.Session) {
		assert.Equal(t, []phpsession.CakeMessage{{Message: "a", Key: "flash", Element: "flash/success", Params: map[string]any{"class": "big"}}}, phpsession.CakeFlashes(s))
	})
}

func TestConfigForPHP(t *testing.T) {
	cfg := phpsession.Config("_app")
	assert.Equal(t, "app", cfg.Name, "as PHP's handler cuts it")
	assert.Equal(t, "_app", cfg.Cookie.Name)
	assert.Less(t, cfg.LockLease.Seconds(), 10.0, "PHP's max_lock_wait_time")
}

// TestChangeWithReferences compares what Change does with an assignment of PHP's, where references, handles of one
// object and objects that act as arrays stand beside the path, in it, and in the new value.
func TestChangeWithReferences(t *testing.T) {
	php := startPHP(t, "php")
	twoHandles := func() any {
		o := &phpsession.Object{Class: "stdClass", Properties: []phpsession.Pair{{"q", &phpsession.Value{int64(1)}}}}
		return phpsession.Array{{int64(0), &phpsession.Value{o}}, {int64(1), &phpsession.Value{o}}}
	}
	twice := func() any {
		v := &phpsession.Value{"same"}
		return phpsession.Array{{"x", v}, {"y", v}}
	}
	values := map[string]any{
		"5": 5, `"text"`: "text", "null": nil, "[]": []int{},
		"(function () { $o = new stdClass; $o->q = 1; return [$o, $o]; })()":         twoHandles(),
		"(function () { $v = 'same'; $a = ['x' => &$v, 'y' => &$v]; return $a; })()": twice(),
	}
	const object = `$o = new stdClass; $o->p = [1, 2]; $o->f = 0.1 + 0.2; `
	for _, test := range []struct{ made, path, place string }{
		{`$_SESSION['a'] = ['x' => 1, 'y' => 0.1];`, "a.x", `['a']['x']`},
		{object + `$_SESSION['a'] = ['x' => $o, 'y' => $o, 'z' => $o];`, "a.x", `['a']['x']`},
		{object + `$_SESSION['a'] = ['x' => $o, 'y' => $o, 'z' => $o];`, "a.y", `['a']['y']`},
		{object + `$_SESSION['a'] = ['x' => $o, 'y' => $o, 'z' => $o];`, "a.y.p.0", `['a']['y']->p[0]`},
		{object + `$_SESSION['a'] = ['x' => $o, 'y' => $o, 'z' => $o];`, "a.y.new.deep.er", `['a']['y']->new['deep']['er']`},
		{object + `$_SESSION['a'] = ['x' => ['in' => $o], 'y' => $o];`, "a.x", `['a']['x']`},
		{object + `$_SESSION['a'] = ['x' => ['in' => $o], 'y' => $o];`, "a.b.c", `['a']['b']['c']`},
		{`$v = [1, 2]; $_SESSION['a'] = ['x' => &$v, 'y' => &$v, 'z' => 3];`, "a.x", `['a']['x']`},
		{`$v = [1, 2]; $_SESSION['a'] = ['x' => &$v, 'y' => &$v, 'z' => 3];`, "a.y", `['a']['y']`},
		{`$v = [1, 2]; $_SESSION['a'] = ['x' => &$v, 'y' => &$v, 'z' => 3];`, "a.y.5", `['a']['y'][5]`},
		{`$v = [1, 2]; $_SESSION['a'] = ['w' => ['n' => &$v], 'y' => &$v, 'z' => &$v];`, "a.w", `['a']['w']`},
		{`$v = [1]; $_SESSION['a'] = ['w' => ['n' => &$v], 'y' => &$v]; $_SESSION['a']['z'] = &$_SESSION['a']['w'];`, "a.w.k", `['a']['w']['k']`},
		{object + `$o->self = $o; $_SESSION['a'] = ['x' => $o];`, "a.x.self.p.1", `['a']['x']->self->p[1]`},
		{object + `$o->self = $o; $_SESSION['a'] = ['x' => $o, 'l' => [$o]];`, "a.x", `['a']['x']`},
		{`$_SESSION['a'] = ['x' => new ArrayObject(['k' => 1])];`, "a.x.k", `['a']['x']['k']`},
		{`$_SESSION['a'] = ['x' => new ArrayObject(['k' => 1])];`, "a.x.new", `['a']['x']['new']`},
		{`$_SESSION['a'] = ['x' => new ArrayObject(['k' => 1]), 'y' => 0.1 + 0.2];`, "a.x.5", `['a']['x'][5]`},
		{`$_SESSION['a'] = ['x' => new ArrayObject(new ArrayObject([]))];`, "a.x.new", `['a']['x']['new']`},
	} {
		for code, v := range values {
			data := php.change(nil, test.made)
			require.Empty(t, data.Error)
			want := php.change(data.Data, `$_SESSION`+test.place+` = `+code+`;`)
			require.Empty(t, want.Error, test.place)
			got := changed(t, string(data.Data), test.path, v)
			seen := php.change([]byte(got), "")
			require.Empty(t, seen.Error)
			assert.Equal(t, string(want.Data), string(seen.Data), "%s %s = %s\n%s", test.made, test.path, code, got)
		}
	}
}

func TestChangeKeepsBytes(t *testing.T) {
	for _, test := range []struct{ before, path, after string }{
		{ // a reference, and a float as PHP 5 wrote it
			`r|a:3:{s:1:"f";d:0.10000000000000001;s:1:"a";O:1:"A":0:{}s:1:"b";r:3;}`, "r.x",
			`r|a:4:{s:1:"f";d:0.10000000000000001;s:1:"a";O:1:"A":0:{}s:1:"b";r:3;s:1:"x";i:5;}`,
		},
		{ // an S string and a custom object
			`r|a:3:{S:1:"\61";C:1:"B":2:{xy}s:1:"c";i:1;s:1:"d";R:3;}`, "r.e.7",
			`r|a:4:{S:1:"\61";C:1:"B":2:{xy}s:1:"c";i:1;s:1:"d";R:3;s:1:"e";a:1:{i:7;i:5;}}`,
		},
		{ // two keys that share: the other one keeps what it had
			`r|a:1:{s:1:"a";d:0.10000000000000001;}s|a:1:{s:1:"b";R:2;}`, "s.c",
			`r|a:1:{s:1:"a";d:0.10000000000000001;}s|a:2:{s:1:"b";d:0.10000000000000001;s:1:"c";i:5;}`,
		},
		{ // an entity's missing field
			"e|O:1:\"E\":2:{s:10:\"\x00*\x00_fields\";a:1:{s:2:\"id\";i:1;}s:7:\"\x00*\x00_new\";b:0;}", "e.name",
			"e|O:1:\"E\":2:{s:10:\"\x00*\x00_fields\";a:2:{s:2:\"id\";i:1;s:4:\"name\";i:5;}s:7:\"\x00*\x00_new\";b:0;}",
		},
		{ // a key twice, which PHP never writes: the last one counts
			`t|a:2:{s:1:"k";i:1;s:1:"k";a:1:{s:1:"x";i:2;}}`, "t.k.x", `t|a:1:{s:1:"k";a:1:{s:1:"x";i:5;}}`,
		},
		{`w|O:1:"A":1:{s:1:"5";i:1;}`, "w.7", `w|O:1:"A":2:{s:1:"5";i:1;s:1:"7";i:5;}`},
	} {
		assert.Equal(t, test.after, changed(t, test.before, test.path, 5), test.path)
	}
}

// TestChangeRefuses: nothing is stored where the value has no place, and v is encoded once.
func TestChangeRefuses(t *testing.T) {
	for _, data := range []string{`a|C:1:"B":2:{xy}`, `a|E:3:"S:A";`} {
		assert.Equal(t, data, withPHPStatus(t, data, 500, func(_ *shared, s *dynasession.Session) { phpsession.Change(s, "a.b", 5) }))
	}
	assert.Equal(t, `n|i:1;`, withPHPStatus(t, `n|i:1;`, 500, func(_ *shared, s *dynasession.Session) {
		phpsession.Change(s, "a.b", func() {})
	}))
	assert.Equal(t, `a|a:2:{s:1:"x";i:9;s:1:"y";a:1:{i:0;i:1;}}`, withPHP(t, `a|a:1:{s:1:"x";i:1;}`, func(sh *shared, s *dynasession.Session) {
		v := []int{1}
		phpsession.Change(s, "a.y", v)
		v[0] = 2
		sh.phpWrites(`a|a:1:{s:1:"x";i:9;}`)
	}), "as it was at the call")

	// JSON would store {}.
	srv := dynamotest.NewServer()
	defer srv.Close()
	cfg := phpsession.Config("CAKEPHP")
	cfg.Codec = dynasession.JSON{}
	sh := share(t, srv.Client(), cfg)
	sh.phpWrites(`{"a":{"x":1}}`)
	for _, change := range []func(s *dynasession.Session){
		func(s *dynasession.Session) { phpsession.Change(s, "a.y", 2) },
		func(s *dynasession.Session) { phpsession.Change(s, "b.y", 2) },
		func(s *dynasession.Session) { phpsession.CakeFlash(s, "Saved", "") },
	} {
		assert.Equal(t, 500, sh.request(change).Code)
		assert.JSONEq(t, `{"a":{"x":1}}`, string(sh.data(sh.item())))
	}
}
