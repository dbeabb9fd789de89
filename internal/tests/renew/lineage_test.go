package renew_test

import (
	"net/http/httptest"
	"strings"
)

// pairsEach is how many pairs of requests run side by side, for each policy and backend.
const pairsEach = 300

// newID is the id that a response brings; "" for none.
func newID(w *httptest.ResponseRecorder) string {
	for _, c := range w.Result().Cookies() {
		if c.MaxAge >= 0 {
			id, _, _ := strings.Cut(c.Value, ".")
			return id
		}
	}
	return ""
}
