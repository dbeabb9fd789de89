package gobvalue

import (
	"encoding/gob"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type point struct{ X, Y int }

func TestValues(t *testing.T) {
	gob.Register(point{})
	gob.Register(map[string]any{})
	for _, v := range []any{"a\xffb", []byte{0}, 1, int64(1) << 62, 1.5, true, point{1, 2}, map[string]any{"a": 1, "b": point{}, "c": "x"}, time.Unix(1, 2).UTC()} {
		raw, err := Marshal(v)
		require.NoError(t, err)
		got, err := Unmarshal(raw)
		require.NoError(t, err)
		assert.Equal(t, v, got)
		for range 20 {
			again, err := Marshal(v)
			require.NoError(t, err)
			assert.True(t, Holds(again, v))
		}
		assert.False(t, Holds(raw, struct{}{}))
		assert.False(t, Holds(raw[:len(raw)-1], v))
	}
	_, err := Marshal(func() {})
	require.Error(t, err)
	_, err = Unmarshal([]byte("not gob"))
	require.Error(t, err)
}
