package respond

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestKeepPrivate(t *testing.T) {
	for name, tc := range map[string]struct {
		have []string
		want string
	}{
		"nothing":            {nil, "private, no-store"},
		"empty":              {[]string{""}, "private, no-store"},
		"commas":             {[]string{" , ,, "}, "private, no-store"},
		"no-store":           {[]string{"no-store"}, "no-store"},
		"NO-STORE":           {[]string{"max-age=5, NO-STORE"}, "max-age=5, NO-STORE"},
		"private":            {[]string{"private"}, "private"},
		"private, with time": {[]string{"Private, max-age=60"}, "Private, max-age=60"},
		"public":             {[]string{"public"}, "private, no-store"},
		"public, with time":  {[]string{"public, max-age=60"}, "private, max-age=60"},
		"PUBLIC":             {[]string{"PUBLIC,Max-Age=60"}, "private, Max-Age=60"},
		"s-maxage":           {[]string{"s-maxage=600"}, "private, no-store"},
		"s-maxage and time":  {[]string{"max-age=60, S-MaxAge=600"}, "private, max-age=60"},
		"no-cache":           {[]string{"no-cache"}, "private, no-cache"},
		"must-revalidate":    {[]string{"max-age=0, must-revalidate"}, "private, max-age=0, must-revalidate"},
		"immutable":          {[]string{"public, max-age=31536000, immutable"}, "private, max-age=31536000, immutable"},
		"private of a field": {[]string{`private="set-cookie", max-age=60`}, "private, max-age=60"},
		"quoted list":        {[]string{`no-cache="set-cookie, x", max-age=60`}, `private, no-cache="set-cookie, x", max-age=60`},
		"extension":          {[]string{`community="UCI"`}, `private, community="UCI"`},
		"two lines":          {[]string{"public", "max-age=60"}, "private, max-age=60"},
		"second line":        {[]string{"max-age=60", "no-store"}, "max-age=60|no-store"},
	} {
		t.Run(name, func(t *testing.T) {
			h := http.Header{}
			if tc.have != nil {
				h["Cache-Control"] = tc.have
			}
			KeepPrivate(h)
			assert.Equal(t, tc.want, strings.Join(h["Cache-Control"], "|"))
			KeepPrivate(h)
			assert.Equal(t, tc.want, strings.Join(h["Cache-Control"], "|"), "twice is as once")
		})
	}
}

func TestVaryByCookie(t *testing.T) {
	for name, tc := range map[string]struct{ have, want []string }{
		"nothing":        {nil, []string{"Cookie"}},
		"others":         {[]string{"Accept, Origin"}, []string{"Accept, Origin", "Cookie"}},
		"two lines":      {[]string{"Accept", "Origin"}, []string{"Accept", "Origin", "Cookie"}},
		"there":          {[]string{"Cookie"}, []string{"Cookie"}},
		"there, in case": {[]string{"Accept, cookie"}, []string{"Accept, cookie"}},
		"second line":    {[]string{"Accept", " COOKIE , X"}, []string{"Accept", " COOKIE , X"}},
		"all":            {[]string{"*"}, []string{"*"}},
		"part of a name": {[]string{"Cookie2, X-Cookie"}, []string{"Cookie2, X-Cookie", "Cookie"}},
		"empty":          {[]string{""}, []string{"", "Cookie"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := http.Header{}
			if tc.have != nil {
				h["Vary"] = tc.have
			}
			for range 2 {
				VaryByCookie(h)
				assert.Equal(t, tc.want, h["Vary"])
			}
		})
	}
}
