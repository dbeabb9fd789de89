package main

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/dynamotest"
)

func TestCounter(t *testing.T) {
	store, err := dynasession.New(dynamotest.Start(t), dynasession.Config{})
	require.NoError(t, err)
	require.NoError(t, store.CreateTable(t.Context()))
	h := handler(store)

	visit := func(cookies ...*http.Cookie) (string, []*http.Cookie) {
		r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
		for _, c := range cookies {
			r.AddCookie(c)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Body.String(), w.Result().Cookies()
	}

	body, mine := visit()
	require.Equal(t, "Visit 1.\n", body)
	body, _ = visit(mine...)
	require.Equal(t, "Visit 2.\n", body)
	body, _ = visit()
	require.Equal(t, "Visit 1.\n", body, "another browser")

	var group sync.WaitGroup
	for range 10 {
		group.Go(func() { visit(mine...) })
	}
	group.Wait()
	body, _ = visit(mine...)
	require.Equal(t, "Visit 13.\n", body, "all visits at the same moment count")
}
