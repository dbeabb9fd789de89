package dynagorilla_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/dynasession/dynasession"
	dynagorilla "github.com/dynasession/dynasession/adapters/gorilla"
	"github.com/dynasession/dynasession/dynamotest"
)

// A counter of one browser's visits.
func Example() {
	server := dynamotest.NewServer() // a real program uses dynasession.FromEnv
	defer server.Close()
	sessionsInDynamoDB, err := dynasession.New(server.Client(), dynasession.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := sessionsInDynamoDB.CreateTable(context.Background()); err != nil {
		fmt.Println(err)
		return
	}

	store := dynagorilla.New(sessionsInDynamoDB)
	handler := func(w http.ResponseWriter, r *http.Request) {
		session, err := store.Get(r, "app")
		if err != nil {
			store.Error(w, r, err)
			return
		}
		visits, _ := session.Values["visits"].(int)
		session.Values["visits"] = visits + 1
		if err := session.Save(r, w); err != nil {
			store.Error(w, r, err)
			return
		}
		_, _ = fmt.Fprint(w, "visit ", visits+1)
	}

	var cookie string
	for range 2 {
		r := httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/", http.NoBody)
		r.Header.Set("Cookie", cookie)
		w := httptest.NewRecorder()
		handler(w, r)
		fmt.Println(w.Body)
		for _, c := range w.Result().Cookies() {
			cookie = c.Name + "=" + c.Value
		}
	}
	// Output:
	// visit 1
	// visit 2
}
