package dynafiber_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"github.com/gofiber/fiber/v3"

	"github.com/dynasession/dynasession"
	dynafiber "github.com/dynasession/dynasession/adapters/fiber"
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

	app := fiber.New()
	app.Use(dynafiber.Middleware(store))
	app.Get("/", func(c fiber.Ctx) error {
		sess, err := dynafiber.Load(c)
		if err != nil {
			return err
		}
		dynasession.Update(sess, "visits", func(n int) int { return n + 1 })
		visits, _ := dynasession.Get[int](sess, "visits")
		return c.SendString(fmt.Sprint("visit ", visits))
	})

	var cookie string
	for range 2 {
		req := httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/", http.NoBody)
		req.Header.Set("Cookie", cookie)
		resp, err := app.Test(req)
		if err != nil {
			fmt.Println(err)
			return
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		fmt.Println(string(body))
		for _, c := range resp.Cookies() {
			cookie = c.Name + "=" + c.Value
		}
	}
	// Output:
	// visit 1
	// visit 2
}

// With limiter.Config{Storage: s}, fiber's limiter counts in DynamoDB, for all servers together.
func ExampleStorage() {
	server := dynamotest.NewServer()
	defer server.Close()
	store, _ := dynasession.New(server.Client(), dynasession.Config{})
	_ = store.CreateTable(context.Background())

	s := dynafiber.NewStorage(server.Client(), dynasession.DefaultTable, "limiter")
	fmt.Println(s.Set("203.0.113.7", []byte("3"), 0))
	v, err := s.Get("203.0.113.7")
	fmt.Println(string(v), err)
	// Output:
	// <nil>
	// 3 <nil>
}
