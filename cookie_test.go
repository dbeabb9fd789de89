package dynasession

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func testCookie(t *testing.T, cfg Config) *cookieMaker {
	t.Helper()
	cfg, err := cfg.complete()
	require.NoError(t, err)
	c := newCookieMaker(&cfg)
	return &c
}

var (
	cookieID1 = strings.Repeat("A", idLen)
	cookieID2 = strings.Repeat("b", idLen)
	cookieID3 = strings.Repeat("3", idLen)
	cookieID4 = strings.Repeat("z", idLen)
)

func TestCookieRead(t *testing.T) {
	const name = "__Host-Http-session"
	id1, id2, id3, id4 := cookieID1, cookieID2, cookieID3, cookieID4
	one := []sessionCookie{{id: id1}}
	for test, tc := range map[string]struct {
		lines []string
		want  []sessionCookie
	}{
		"none":                      {nil, nil},
		"empty":                     {[]string{""}, nil},
		"one":                       {[]string{name + "=" + id1}, one},
		"among others":              {[]string{"a=b; " + name + "=" + id1 + "; c=d"}, one},
		"without spaces":            {[]string{"a=b;" + name + "=" + id1 + ";c=d"}, one},
		"spaces and tabs":           {[]string{" \t " + name + "=" + id1 + " \t ;  ; ;"}, one},
		"second line":               {[]string{"a=b", name + "=" + id1}, one},
		"two":                       {[]string{name + "=" + id1 + "; " + name + "=" + id2}, []sessionCookie{{id: id1}, {id: id2}}},
		"in the browser's order":    {[]string{name + "=" + id2 + "; a=b; " + name + "=" + id1}, []sessionCookie{{id: id2}, {id: id1}}},
		"over two lines":            {[]string{name + "=" + id2, name + "=" + id1}, []sessionCookie{{id: id2}, {id: id1}}},
		"twice the same":            {[]string{name + "=" + id1 + "; " + name + "=" + id1 + ".7"}, []sessionCookie{{id: id1, rev: 7}}},
		"at most three":             {[]string{name + "=" + strings.Join([]string{id1, id2, id3, id4}, "; "+name+"=")}, []sessionCookie{{id: id1}, {id: id2}, {id: id3}}},
		"the malformed don't count": {[]string{strings.Repeat(name+"=x; ", 10) + name + "=" + id1}, one},
		"many others":               {[]string{strings.Repeat("a=b; ", 2000) + name + "=" + id1}, one},

		"revision":               {[]string{name + "=" + id1 + ".5"}, []sessionCookie{{id: id1, rev: 5}}},
		"largest revision":       {[]string{name + "=" + id1 + ".4611686018427387903"}, []sessionCookie{{id: id1, rev: 1<<62 - 1}}},
		"too large a revision":   {[]string{name + "=" + id1 + ".4611686018427387904"}, nil},
		"huge revision":          {[]string{name + "=" + id1 + "." + strings.Repeat("9", 4000)}, nil},
		"no revision":            {[]string{name + "=" + id1 + "."}, nil},
		"negative revision":      {[]string{name + "=" + id1 + ".-1"}, nil},
		"signed revision":        {[]string{name + "=" + id1 + ".+1"}, nil},
		"hexadecimal revision":   {[]string{name + "=" + id1 + ".0x1"}, nil},
		"underscored revision":   {[]string{name + "=" + id1 + ".1_0"}, nil},
		"two revisions":          {[]string{name + "=" + id1 + ".1.2"}, nil},
		"revision alone":         {[]string{name + "=.1"}, nil},
		"bad, then good":         {[]string{name + "=" + id1 + ".x; " + name + "=" + id1}, one},
		"no value":               {[]string{name + "="}, nil},
		"no equals sign":         {[]string{name}, nil},
		"name alone, then one":   {[]string{name + "; " + name + "=" + id1}, one},
		"space before the value": {[]string{name + "= " + id1}, nil},
		"space after the name":   {[]string{name + " =" + id1}, nil},
		"quoted":                 {[]string{name + `="` + id1 + `"`}, nil},
		"short":                  {[]string{name + "=" + id1[1:]}, nil},
		"long":                   {[]string{name + "=" + id1 + "A"}, nil},
		"8 KB":                   {[]string{name + "=" + strings.Repeat("A", 8192)}, nil},
		"escaped":                {[]string{name + "=" + "%41" + id1[1:]}, nil},
		"plus":                   {[]string{name + "=" + id1[1:] + "+"}, nil},
		"control":                {[]string{name + "=" + id1[1:] + "\x00"}, nil},
		"newline":                {[]string{name + "=" + id1 + "\n"}, nil},
		"not UTF-8":              {[]string{name + "=" + id1[1:] + "\xff"}, nil},
		"beyond ASCII":           {[]string{name + "=" + id1[1:] + "ä"}, nil},
		"equals sign in value":   {[]string{name + "==" + id1}, nil},
		"comma":                  {[]string{name + "=" + id1 + "," + name + "=" + id2}, nil},

		"ours at the end":     {[]string{"x" + name + "=" + id1}, nil},
		"ours at the start":   {[]string{name + "2=" + id1}, nil},
		"ours in a value":     {[]string{"a=" + name + "=" + id1}, nil},
		"ours after a space":  {[]string{"a " + name + "=" + id1}, nil},
		"another case":        {[]string{strings.ToLower(name) + "=" + id1}, nil},
		"without the prefix":  {[]string{"session=" + id1}, nil},
		"with another prefix": {[]string{"__Secure-session=" + id1}, nil},
		"no name":             {[]string{"=" + id1 + "; =" + name + "=" + id1}, nil},
	} {
		t.Run(test, func(t *testing.T) {
			for _, eventual := range []bool{false, true} { // a change of the setting leaves revisions behind
				c := testCookie(t, Config{EventualReads: eventual})
				assert.Equal(t, tc.want, c.read(http.Header{"Cookie": tc.lines}))
			}
		})
	}
	t.Run("plain ids", func(t *testing.T) {
		c := testCookie(t, Config{InsecurePlainIDs: true, Cookie: CookieConfig{Name: "PHPSESSID"}})
		php := "abc,-0123456789abcdefghij"
		for value, want := range map[string][]sessionCookie{
			php: {{id: php}}, php + ".9": {{id: php, rev: 9}}, strings.Repeat("a", 256): {{id: strings.Repeat("a", 256)}},
			strings.Repeat("a", 257): nil, "short": nil, php + "_": nil,
			// PHP writes a comma as %2C, and reads it so. What counts is the id's own length.
			"abc%2C-0123456789abcdefghij": {{id: php}}, "abc%2c-0123456789abcdefghij.9": {{id: php, rev: 9}},
			php + "%2C": {{id: php + ","}}, php + "%2D": nil, php + "%": nil, php + "%252C": nil,
			"%2C" + strings.Repeat("a", 20):   nil,
			strings.Repeat("%2C", phpIDMax):   {{id: strings.Repeat(",", phpIDMax)}},
			strings.Repeat("%2C", phpIDMax+1): nil,
		} {
			assert.Equal(t, want, c.read(http.Header{"Cookie": {"PHPSESSID=" + value}}), value)
		}
		ours := testCookie(t, Config{})
		assert.Nil(t, ours.read(http.Header{"Cookie": {name + "=%2C" + id1[1:]}}), "only PHP's ids have commas")
	})
}

func TestCookieWrite(t *testing.T) {
	id := cookieID1
	set := cookieUpdate{action: cookieSet, id: id}
	for name, tc := range map[string]struct {
		cfg  Config
		d    cookieUpdate
		want string
	}{
		"default":      {Config{}, set, "__Host-Http-session=" + id + "; Path=/; HttpOnly; Secure; SameSite=Lax"},
		"name":         {Config{Name: "app"}, set, "__Host-Http-app=" + id + "; Path=/; HttpOnly; Secure; SameSite=Lax"},
		"exact name":   {Config{Cookie: CookieConfig{Name: "sid"}}, set, "sid=" + id + "; Path=/; HttpOnly; Secure; SameSite=Lax"},
		"domain":       {Config{Cookie: CookieConfig{Domain: "example.com"}}, set, "__Secure-session=" + id + "; Path=/; Domain=example.com; HttpOnly; Secure; SameSite=Lax"},
		"dotted":       {Config{Cookie: CookieConfig{Domain: ".example.com"}}, set, "__Secure-session=" + id + "; Path=/; Domain=example.com; HttpOnly; Secure; SameSite=Lax"},
		"path":         {Config{Cookie: CookieConfig{Path: "/admin"}}, set, "__Secure-session=" + id + "; Path=/admin; HttpOnly; Secure; SameSite=Lax"},
		"path, spaced": {Config{Cookie: CookieConfig{Path: "/a b"}}, set, "__Secure-session=" + id + "; Path=/a b; HttpOnly; Secure; SameSite=Lax"},
		"strict":       {Config{Cookie: CookieConfig{SameSite: http.SameSiteStrictMode}}, set, "__Host-Http-session=" + id + "; Path=/; HttpOnly; Secure; SameSite=Strict"},
		"none":         {Config{Cookie: CookieConfig{SameSite: http.SameSiteNoneMode}}, set, "__Host-Http-session=" + id + "; Path=/; HttpOnly; Secure; SameSite=None"},
		"partitioned": {Config{Cookie: CookieConfig{SameSite: http.SameSiteNoneMode, Partitioned: true}}, set,
			"__Host-Http-session=" + id + "; Path=/; HttpOnly; Secure; SameSite=None; Partitioned"},
		"insecure":     {Config{Cookie: CookieConfig{Insecure: true}}, set, "session=" + id + "; Path=/; HttpOnly; SameSite=Lax"},
		"until":        {Config{}, cookieUpdate{action: cookieSet, id: id, maxAge: 86400}, "__Host-Http-session=" + id + "; Path=/; Max-Age=86400; HttpOnly; Secure; SameSite=Lax"},
		"revision":     {Config{EventualReads: true}, cookieUpdate{action: cookieSet, id: id, rev: 12}, "__Host-Http-session=" + id + ".12; Path=/; HttpOnly; Secure; SameSite=Lax"},
		"revision off": {Config{}, cookieUpdate{action: cookieSet, id: id, rev: 12}, "__Host-Http-session=" + id + "; Path=/; HttpOnly; Secure; SameSite=Lax"},
		"comma": {Config{InsecurePlainIDs: true}, cookieUpdate{action: cookieSet, id: "a,b" + id + ","},
			"__Host-Http-session=a%2Cb" + id + "%2C; Path=/; HttpOnly; Secure; SameSite=Lax"},
		"clear": {Config{EventualReads: true}, cookieUpdate{action: cookieClear},
			"__Host-Http-session=; Path=/; Expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0; HttpOnly; Secure; SameSite=Lax"},
		"clear, domain": {Config{Cookie: CookieConfig{Domain: "example.com", Path: "/a", Partitioned: true}}, cookieUpdate{action: cookieClear},
			"__Secure-session=; Path=/a; Domain=example.com; Expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0; HttpOnly; Secure; SameSite=Lax; Partitioned"},
	} {
		t.Run(name, func(t *testing.T) {
			h := http.Header{}
			testCookie(t, tc.cfg).write(h, tc.d)
			assert.Equal(t, http.Header{"Set-Cookie": {tc.want}, "Cache-Control": {"private, no-store"}}, h)
		})
	}
	t.Run("keep", func(t *testing.T) {
		h := http.Header{"Set-Cookie": {"a=b"}, "Cache-Control": {"public"}}
		testCookie(t, Config{}).write(h, cookieUpdate{})
		assert.Equal(t, http.Header{"Set-Cookie": {"a=b"}, "Cache-Control": {"public"}}, h)
	})
}

// TestCookieReplaces: one response sets the cookie once, and leaves others'.
func TestCookieReplaces(t *testing.T) {
	c := testCookie(t, Config{})
	h := http.Header{}
	h.Add("Set-Cookie", "a=b; Path=/")
	c.write(h, cookieUpdate{action: cookieSet, id: cookieID1})
	h.Add("Set-Cookie", "__Host-Http-session2=x")
	h.Add("Set-Cookie", "x__Host-Http-session=y")
	h.Add("Set-Cookie", "c=__Host-Http-session=z")
	shared := h["Set-Cookie"]
	c.write(h, cookieUpdate{action: cookieSet, id: cookieID2})
	assert.Equal(t, []string{
		"a=b; Path=/", "__Host-Http-session2=x", "x__Host-Http-session=y", "c=__Host-Http-session=z",
		"__Host-Http-session=" + cookieID2 + "; Path=/; HttpOnly; Secure; SameSite=Lax",
	}, h["Set-Cookie"])
	assert.Contains(t, shared[1], cookieID1, "lines that others hold stay as they are")

	c.write(h, cookieUpdate{action: cookieClear})
	assert.Len(t, h["Set-Cookie"], 5)
	assert.Contains(t, h["Set-Cookie"][4], "__Host-Http-session=; ")
	c.write(h, cookieUpdate{action: cookieSet, id: cookieID1})
	assert.Len(t, h["Set-Cookie"], 5)
	assert.Contains(t, h["Set-Cookie"][4], cookieID1)
	assert.Equal(t, []string{"private, no-store"}, h["Cache-Control"])
}

// TestCookieSize: browsers drop what is longer than 4096 bytes, and attributes over 1024 (RFC
// 6265bis, sections 5.6 and 5.7). The longest that Config allows is not.
func TestCookieSize(t *testing.T) {
	domain := strings.Repeat(strings.Repeat("d", 62)+".", 4)[:251] + ".d"
	c := testCookie(t, Config{
		EventualReads: true, InsecurePlainIDs: true, Name: strings.Repeat("n", 128),
		Cookie: CookieConfig{
			Name: strings.Repeat("c", 256), Domain: domain, Path: "/" + strings.Repeat("p", 1023),
			SameSite: http.SameSiteStrictMode, Partitioned: true, Persist: true,
		},
	})
	h := http.Header{}
	id := strings.Repeat(",", phpIDMax) // each is three characters in the cookie
	c.write(h, cookieUpdate{action: cookieSet, id: id, rev: 1<<62 - 1, maxAge: 1 << 40})
	line := h.Get("Set-Cookie")
	assert.LessOrEqual(t, len(line), 4096)
	parsed, err := http.ParseSetCookie(line)
	require.NoError(t, err)
	assert.Len(t, parsed.Domain, 253)
	assert.Len(t, parsed.Path, 1024)
	assert.LessOrEqual(t, len(parsed.Name)+len(parsed.Value), 4096)
	assert.True(t, parsed.Partitioned)
	assert.Equal(t, []sessionCookie{{id: id, rev: 1<<62 - 1}}, c.read(http.Header{"Cookie": {parsed.Name + "=" + parsed.Value}}))
}

func FuzzCookie(f *testing.F) {
	f.Add("__Host-Http-session="+cookieID1, "", "/", int64(1))
	f.Add("a=b; __Host-Http-session="+cookieID1+".5; __Host-Http-session="+cookieID2, "example.com", "/a", int64(0))
	f.Add("__Host-Http-session="+cookieID1+".5~1800000000.abc; __Host-Http-session="+cookieID1+"~.~", "", "/", int64(3))
	f.Add("__Host-Http-session", "a..b", "", int64(1<<62))
	f.Add(";;=;= ;\t", ".x.y", "/;", int64(-1))
	f.Add("__Host-Http-session=\"\xff\"", "1.2", "/\x7f", int64(7))
	f.Fuzz(func(t *testing.T, line, domain, path string, rev int64) {
		cfg, err := Config{EventualReads: true, Cookie: CookieConfig{Domain: domain, Path: path}}.complete()
		if err != nil {
			cfg, err = Config{EventualReads: true}.complete()
			require.NoError(t, err)
		}
		c := newCookieMaker(&cfg)
		tickets := c.read(http.Header{"Cookie": {line, line}})
		require.LessOrEqual(t, len(tickets), maxCookies)
		for i, sessionCookie := range tickets {
			require.True(t, c.keys.valid(sessionCookie.id))
			require.GreaterOrEqual(t, sessionCookie.rev, int64(0))
			require.Contains(t, line, c.Name+"="+sessionCookie.id)
			for _, other := range tickets[:i] {
				require.NotEqual(t, other.id, sessionCookie.id)
			}
			// A browser sends back what it got.
			h := http.Header{}
			c.write(h, cookieUpdate{action: cookieSet, id: sessionCookie.id, rev: max(rev, 0) >> 1})
			sent, err := http.ParseSetCookie(h.Get("Set-Cookie"))
			require.NoError(t, err)
			require.Equal(t, c.Name, sent.Name)
			require.Equal(t, c.Path, sent.Path)
			require.True(t, sent.HttpOnly && sent.Secure)
			back := c.read(http.Header{"Cookie": {fmt.Sprintf("x=y; %s=%s", sent.Name, sent.Value)}})
			require.Len(t, back, 1)
			require.Equal(t, sessionCookie.id, back[0].id)
			require.Equal(t, max(rev, 0)>>1, back[0].rev)
		}
	})
}
