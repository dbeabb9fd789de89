package phpsession_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/dynamotest"
	"github.com/dynasession/dynasession/phpsession"
)

// withPHP runs f as a request of Go on a session that PHP has written.
func withPHP(t *testing.T, data string, f func(sh *shared, s *dynasession.Session)) string {
	t.Helper()
	return withPHPStatus(t, data, http.StatusOK, f)
}

// withPHPStatus is withPHP for a request that is answered with status.
func withPHPStatus(t *testing.T, data string, status int, f func(sh *shared, s *dynasession.Session)) string {
	t.Helper()
	srv := dynamotest.NewServer()
	defer srv.Close()
	sh := share(t, srv.Client(), phpsession.Config("CAKEPHP"))
	sh.phpWrites(data)
	called := false
	require.Equal(t, status, sh.request(func(s *dynasession.Session) {
		called = true
		f(sh, s)
	}).Code)
	require.True(t, called)
	return string(sh.data(sh.item()))
}

func found[T any](t *testing.T, s *dynasession.Session, path string, want T) {
	t.Helper()
	got, ok := phpsession.Lookup[T](s, path)
	assert.True(t, ok, path)
	assert.Equal(t, want, got, path)
}

func missing[T any](t *testing.T, s *dynasession.Session, path string) {
	t.Helper()
	got, ok := phpsession.Lookup[T](s, path)
	assert.False(t, ok, path)
	assert.Zero(t, got, path)
}

func TestLookup(t *testing.T) {
	// Arrays, an object with a private and a protected property, an entity of CakePHP 3, references, a key twice.
	data := `Auth|a:4:{s:4:"User";a:3:{s:2:"id";i:7;s:4:"name";s:3:"Ada";s:4:"none";N;}i:5;s:4:"five";s:3:"a.b";i:1;s:4:"self";R:2;}` +
		"o|O:1:\"A\":3:{s:1:\"x\";i:1;s:4:\"\x00*\x00y\";i:2;s:4:\"\x00A\x00z\";a:1:{s:1:\"w\";d:0.5;}}" +
		"e|O:21:\"App\\Model\\Entity\\User\":2:{s:14:\"\x00*\x00_properties\";a:2:{s:2:\"id\";i:9;s:3:\"_id\";i:3;}s:3:\"_id\";i:4;}" +
		"n|i:8;h|r:8;t|a:2:{s:1:\"k\";i:1;s:1:\"k\";i:2;}"
	withPHP(t, data, func(_ *shared, s *dynasession.Session) {
		found(t, s, "Auth.User.id", 7)
		found(t, s, "Auth.User.name", "Ada")
		found(t, s, "Auth.User", map[string]any{"id": int64(7), "name": "Ada", "none": nil})
		found(t, s, "Auth.5", "five")
		found(t, s, "Auth.self.id", 7)
		found(t, s, "o.x", 1)
		found(t, s, "o.y", 2)
		found(t, s, "o.z.w", 0.5)
		found(t, s, "e.id", 9)
		found(t, s, "e._id", 3)
		found(t, s, "n", 8)
		found(t, s, "t.k", 2)
		found(t, s, "h.x", 1)
		missing[any](t, s, "Auth.User.none") // CakePHP returns no null
		missing[int](t, s, "Auth.User.name") // a string
		for _, path := range []string{"", ".", "none", "Auth.", "Auth.none", "Auth.User.id.more", "Auth.a.b", "n.x", "Auth.05", "o.w"} {
			missing[any](t, s, path)
		}
	})
}

// TestLookupArrayObjects: what is an ArrayAccess to PHP is read as an array, as CakePHP reads it.
func TestLookupArrayObjects(t *testing.T) {
	const elements = `a:2:{s:2:"id";i:7;s:4:"user";a:1:{s:4:"role";s:5:"admin";}}`
	object := func(class, elements, properties string) string {
		return `O:` + strconv.Itoa(len(class)) + `:"` + class + `":4:{i:0;i:0;i:1;` + elements + `i:2;` + properties + `i:3;N;}`
	}
	inner := object("ArrayObject", elements, `a:0:{}`)
	for name, auth := range map[string]string{ // as php -r 'echo serialize(new ArrayObject(...));' writes them
		"ArrayObject":        inner,
		"ArrayIterator":      object("ArrayIterator", elements, `a:0:{}`),
		"a class of its own": object("App\\Bag", elements, "a:2:{s:3:\"own\";i:1;s:4:\"\x00*\x00p\";i:2;}"),
		"another iterator":   strings.Replace(strings.Replace(inner, `i:3;N;`, `i:3;s:2:"It";`, 1), `i:0;i:0;`, `i:0;i:2;`, 1),
		"of an ArrayObject":  object("ArrayIterator", object("ArrayObject", inner, `a:0:{}`), `a:0:{}`),
		"of an object":       object("ArrayObject", strings.Replace(elements, `a:2`, `O:1:"P":2`, 1), `a:0:{}`),
		"of itself":          `O:4:"Self":4:{i:0;i:16777216;i:1;N;i:2;` + elements + `i:3;N;}`,
		"an early one":       `O:11:"ArrayObject":3:{i:0;i:0;i:1;` + elements + `i:2;a:0:{}}`, // PHP reads it too
		"the same one again": `r:2;`,
		"of the same one":    object("ArrayObject", `r:2;`, `a:0:{}`),
	} {
		t.Run(name, func(t *testing.T) {
			withPHP(t, `in|a:1:{s:1:"x";`+inner+`}Auth|`+auth, func(_ *shared, s *dynasession.Session) {
				found(t, s, "Auth.id", 7)
				found(t, s, "Auth.user.role", "admin")
				found(t, s, "in.x.user", map[string]string{"role": "admin"})
				for _, path := range []string{"Auth.0", "Auth.1", "Auth.1.id", "Auth.own", "Auth.p", "Auth.none", "Auth.id.more"} {
					missing[any](t, s, path)
				}
			})
		})
	}
	// What only looks alike is an object as others are; what holds itself has no elements.
	withPHP(t, `q|O:8:"SplQueue":3:{i:0;i:4;i:1;a:1:{i:0;i:5;}i:2;a:0:{}}`+
		`o|O:1:"A":4:{i:0;s:1:"x";i:1;a:1:{i:0;i:5;}i:2;a:0:{}i:3;N;}`+
		`p|O:1:"A":4:{i:0;i:1;i:1;a:1:{i:0;i:5;}i:2;i:3;i:4;N;}`+
		`self|O:11:"ArrayObject":4:{i:0;i:0;i:1;r:18;i:2;a:0:{}i:3;N;}`, func(_ *shared, s *dynasession.Session) {
		found(t, s, "q.1.0", 5)
		found(t, s, "o.0", "x")
		found(t, s, "o.1.0", 5)
		found(t, s, "p.2", 3)
		missing[any](t, s, "self.0")
	})
}

func TestKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const tail = `s:7:"timeout";i:10;}Auth|a:1:{s:2:"id";i:7;}`
		now := time.Now().Unix()
		config := func(at int64) string {
			return `Config|a:3:{s:9:"userAgent";s:1:"x";s:4:"time";i:` + num(at) + `;` + tail
		}
		keep := func(_ *shared, s *dynasession.Session) { phpsession.KeepAlive(s, time.Minute) }
		assert.Equal(t, config(now), withPHP(t, config(now-60), keep))
		assert.Equal(t, config(now), withPHP(t, config(now-1440), keep))
		assert.Empty(t, withPHP(t, config(now-1441), keep), "over for CakePHP")
		text := func(at int64) string { // CakePHP takes digits too
			return strings.Replace(config(at), `i:`+num(at), `s:`+strconv.Itoa(len(num(at)))+`:"`+num(at)+`"`, 1)
		}
		assert.Equal(t, config(now), withPHP(t, text(now-60), keep))
		for _, data := range []string{
			text(now - 59),
			config(now - 59), // young enough: nothing is written
			config(now + 10),
			`Auth|i:1;`,
			`Config|i:1;`,
			`Config|a:0:{}`,
			`Config|a:1:{s:4:"time";s:3:"now";}`,
			`Config|a:1:{s:4:"time";N;}`,
		} {
			assert.Equal(t, data, withPHP(t, data, keep))
		}
		// A request of PHP that was under way at the same time, and began a little later.
		assert.Equal(t, config(now+1), withPHP(t, config(now-60), func(sh *shared, s *dynasession.Session) {
			keep(sh, s)
			sh.phpWrites(config(now + 1))
		}))
	})
}
