package dynagin_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/gin-gonic/gin"

	"github.com/dynasession/dynasession"
	dynagin "github.com/dynasession/dynasession/adapters/gin"
	"github.com/dynasession/dynasession/dynamotest"
)

// A counter of one browser's visits.
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

	r := gin.New()
	r.Use(gin.Recovery(), dynagin.Middleware(store))
	r.GET("/", func(c *gin.Context) {
		sess, err := dynagin.Load(c)
		if err != nil {
			return // the middleware answers
		}
		dynasession.Update(sess, "visits", func(n int) int { return n + 1 })
		visits, _ := dynasession.Get[int](sess, "visits")
		c.String(http.StatusOK, "visit %d", visits)
	})

	var cookie string
	for range 2 {
		w := httptest.NewRecorder()
		req := httptest.NewRequestWithContext(context.Background(), http.MethodGet, "https://shop.example.com/", http.NoBody)
		req.Header.Set("X-Forwarded-Proto", "https")
		req.Header.Set("Cookie", cookie)
		r.ServeHTTP(w, req)
		fmt.Println(w.Body)
		for _, c := range w.Result().Cookies() {
			cookie = c.Name + "=" + c.Value
		}
	}
	// Output:
	// visit 1
	// visit 2
}
