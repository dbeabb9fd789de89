package phpsession_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
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

	// CakePHP's own, and what another request adds meanwhile.
	two := strings.Replace(`Flash|a:1:{s:5:"flash";a:2:{i:0;`+saved+`i:1;`+saved+`}}`, `s:6:"params";a:0:{}`, `s:6:"params";a:1:{s:5:"class";s:3:"big";}`, 1)
	var got []phpsession.CakeMessage
	assert.Equal(t, `Flash|a:0:{}`, withPHP(t, two, func(_ *shared, s *dynasession.Session) { got = phpsession.CakeFlashes(s) }))
	require.Len(t, got, 2)
	assert.Equal(t, phpsession.CakeMessage{Message: "Saved", Key: "flash", Element: "Flash/success", Params: map[string]any{"class": "big"}}, got[0])
	for _, data := range []string{`n|i:1;`, `Flash|a:0:{}`, `Flash|i:1;`} {
		assert.Equal(t, data, withPHP(t, data, func(_ *shared, s *dynasession.Session) { assert.Empty(t, phpsession.CakeFlashes(s)) }))
	}
}

func TestConfigForPHP(t *testing.T) {
	cfg := phpsession.Config("_app")
	assert.Equal(t, "app", cfg.Name, "as PHP's handler cuts it")
	assert.Equal(t, "_app", cfg.Cookie.Name)
	assert.Less(t, cfg.LockLease.Seconds(), 10.0, "PHP's max_lock_wait_time")
}
