package merge_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/internal/tests/stage"
)

// plainText encodes strings as they are, and so the empty one as nil.
type plainText struct{ dynasession.JSON }

func (plainText) Marshal(v any) ([]byte, error) { return append([]byte(nil), v.(string)...), nil }

func (plainText) Unmarshal(data []byte, v any) error {
	*v.(*string) = string(data)
	return nil
}

func (plainText) Join(list []dynasession.KeyValue) ([]byte, error) {
	quoted := make([]dynasession.KeyValue, len(list))
	for i, kv := range list {
		quoted[i] = dynasession.KeyValue{Key: kv.Key, Value: []byte(strconv.Quote(string(kv.Value)))}
	}
	return dynasession.JSON{}.Join(quoted)
}

func (plainText) Split(data []byte) ([]dynasession.KeyValue, error) {
	list, err := dynasession.JSON{}.Split(data)
	for i := range list {
		list[i].Value = append([]byte(nil), strings.Trim(string(list[i].Value), `"`)...)
	}
	return list, err
}

// TestLargeBeforeCompression: DynamoDB's limit holds for what a session is, not for what it compresses to.
func TestLargeBeforeCompression(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		sc := stage.NewScene(t, b, dynasession.Config{})
		for size, fits := range map[int]bool{390 << 10: true, 400 << 10: false, 4 << 20: false} {
			sc.Paths["/fill"] = func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) {
				s.Set("big", strings.Repeat("x", size))
			}
			w := sc.Get("/fill")
			if fits {
				assert.Equal(t, http.StatusOK, w.Code, size)
				continue
			}
			sc.Failed(w, http.StatusInternalServerError, dynasession.ErrTooLarge)
			require.ErrorIs(t, sc.Store.Write(t.Context(), sc.ID(), make([]byte, size)), dynasession.ErrTooLarge)
		}
	})
}

// TestInfoDecodesWhenAsked: listing sessions reads none of their values.
func TestInfoDecodesWhenAsked(t *testing.T) {
	b := stage.Embedded(t)
	codec := &countingCodec{}
	sc := stage.NewScene(t, b, dynasession.Config{UserIndex: "by-user", Codec: codec})
	sc.OK("/login?alice")
	codec.splits = 0
	infos, err := sc.Store.UserSessions(t.Context(), "alice")
	require.NoError(t, err)
	require.Len(t, infos, 1)
	assert.Zero(t, codec.splits)
	var token string
	for range 2 {
		require.NoError(t, infos[0].Decode("token", &token))
	}
	assert.Equal(t, "t", token)
	assert.Equal(t, 1, codec.splits)
}

type countingCodec struct {
	dynasession.JSON
	splits int
}

func (c *countingCodec) Split(data []byte) ([]dynasession.KeyValue, error) {
	c.splits++
	return c.JSON.Split(data)
}

// TestDeepValues: what encoding/json would not read again is not stored.
func TestDeepValues(t *testing.T) {
	sc := stage.NewScene(t, stage.Embedded(t), dynasession.Config{})
	var deep any
	for range 9999 {
		deep = []any{deep}
	}
	for path, value := range map[string]any{"/deep": deep, "/too-deep": []any{deep}} {
		sc.Paths[path] = func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) { s.Set("deep", value) }
	}
	sc.OK("/deep")
	assert.Equal(t, "deep n token", sc.OK("/read"))
	assert.Equal(t, http.StatusInternalServerError, sc.Get("/too-deep").Code)
	assert.Equal(t, "deep n token", sc.OK("/read"))
}

// TestEmptyEncodings: a codec may encode a value as nothing. It is a value all the same.
func TestEmptyEncodings(t *testing.T) {
	sc := stage.EmptyScene(t, stage.Embedded(t), dynasession.Config{Codec: plainText{}})
	sc.Paths["/new"] = func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) {
		s.Set("full", "full")
		s.Set("token", "")
	}
	sc.Paths["/other"] = func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) { s.Set("other", "x") }
	sc.Paths["/empty"] = func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) {
		sc.Twin().Get("/other")
		dynasession.Update(s, "full", func(string) string { return "" })
		_, ok := dynasession.Pop[string](s, "token")
		assert.True(t, ok)
	}
	sc.OK("/new")
	sc.OK("/empty")
	assert.JSONEq(t, `{"full":"","other":"x"}`, sc.Data())
}
