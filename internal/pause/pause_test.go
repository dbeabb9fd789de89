package pause

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// took returns how long wait takes by the bubble's clock.
func took(t *testing.T, wait func(context.Context) error) time.Duration {
	t.Helper()
	begin := time.Now()
	require.NoError(t, wait(t.Context()))
	return time.Since(begin)
}

func TestFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		assert.Equal(t, time.Minute, took(t, func(ctx context.Context) error { return For(ctx, time.Minute) }))

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		require.ErrorIs(t, For(ctx, time.Minute), context.DeadlineExceeded)
		assert.Equal(t, time.Second, time.Since(begin))
	})
}

func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var longest time.Duration
		for range 50 {
			var b Backoff
			for try := range 12 {
				d := took(t, b.Wait)
				assert.GreaterOrEqual(t, d, time.Millisecond)
				assert.LessOrEqual(t, d, min(backoffBase<<try, backoffMax)+time.Millisecond)
				longest = max(longest, d)
			}
			assert.Equal(t, 12, b.Tries)
		}
		assert.Greater(t, longest, backoffMax/2)
	})
}

func TestPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Poll
		for range 20 {
			took(t, p.Wait)
		}
		for range 50 {
			d := took(t, p.Wait)
			assert.GreaterOrEqual(t, d, pollMax/2)
			assert.LessOrEqual(t, d, pollMax*3/2)
		}
		longest := func(p Poll) (d time.Duration) {
			for range 200 {
				d = max(d, took(t, func(ctx context.Context) error { return p.Confirm(ctx, time.Millisecond) }))
			}
			return d
		}
		assert.LessOrEqual(t, longest(Poll{}), time.Millisecond+4*pollBase)
		assert.Greater(t, longest(Poll{Lost: 20}), 8*pollBase)
		assert.LessOrEqual(t, longest(Poll{Lost: 20}), time.Millisecond+64*pollBase)
	})
}
