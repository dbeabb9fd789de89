package respond

import (
	"net/http"
	"strings"
)

// VaryByCookie says to caches that the response depends on the cookie.
func VaryByCookie(h http.Header) {
	for _, line := range h["Vary"] {
		for field := range strings.SplitSeq(line, ",") {
			if field = strings.TrimSpace(field); field == "*" || strings.EqualFold(field, "Cookie") {
				return
			}
		}
	}
	h["Vary"] = append(h["Vary"], "Cookie")
}

// KeepPrivate keeps shared caches from storing a response that sets the cookie (RFC 9111, section 7.3). What the
// handler says about private caches stays.
func KeepPrivate(h http.Header) {
	var kept []string
	for _, line := range h["Cache-Control"] {
		for _, directive := range directives(line) {
			name, value, _ := strings.Cut(directive, "=")
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "no-store":
				return
			case "private":
				if value == "" {
					return
				}
			case "public", "s-maxage", "":
			default:
				kept = append(kept, directive)
			}
		}
	}
	if len(kept) == 0 {
		kept = []string{"no-store"}
	}
	h.Set("Cache-Control", strings.Join(append([]string{"private"}, kept...), ", "))
}

// directives splits a Cache-Control line at the commas outside of quotes.
func directives(line string) []string {
	quoted := false
	list := strings.FieldsFunc(line, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return r == ',' && !quoted
	})
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return list
}
