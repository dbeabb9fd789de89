package dynascs_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/alexedwards/scs/v2"

	"github.com/dynasession/dynasession"
	dynascs "github.com/dynasession/dynasession/adapters/scs"
	"github.com/dynasession/dynasession/dynamotest"
)

// A counter of one browser's visits. An app that has scs changes the line of Use, and nothing else.
func Example() {
	server := dynamotest.NewServer() // a real program uses dynasession.FromEnv
	defer server.Close()
	store, err := dynasession.New(server.Client(), dynasession.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := store.CreateTable(context.Background()); err != nil {
		fmt.Println(err)
		return
	}

	sessions := scs.New()
	dynascs.Use(sessions, store)
	handler := sessions.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		visits := sessions.GetInt(r.Context(), "visits") + 1
		sessions.Put(r.Context(), "visits", visits)
		_, _ = fmt.Fprint(w, "visit ", visits)
	}))

	var cookie string
	for range 2 {
		r := httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/", http.NoBody)
		r.Header.Set("Cookie", cookie)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		fmt.Println(w.Body)
		for _, c := range w.Result().Cookies() {
			cookie = c.Name + "=" + c.Value
		}
	}
	// Output:
	// visit 1
	// visit 2
}
