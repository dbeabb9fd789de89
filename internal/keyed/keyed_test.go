package keyed

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// isOpen reports whether it is the turn of the waiter that turn belongs to.
func isOpen(turn <-chan struct{}) bool {
	select {
	case <-turn:
		return true
	default:
		return false
	}
}

func TestQueue(t *testing.T) {
	var q Queue[string]
	first, leaveFirst := q.Join("a")
	second, leaveSecond := q.Join("a")
	third, leaveThird := q.Join("a")
	other, leaveOther := q.Join("b")
	assert.True(t, isOpen(first))
	assert.True(t, isOpen(other), "keys do not wait for each other")
	assert.False(t, isOpen(second))
	assert.Empty(t, q.Handed("a"))
	q.Hand("a", "from the first")

	leaveSecond() // before its turn
	assert.False(t, isOpen(third))
	leaveFirst()
	leaveFirst()
	assert.True(t, isOpen(third))
	assert.Equal(t, "from the first", q.Handed("a"))
	leaveThird()
	leaveOther()
	assert.Empty(t, q.lines)

	again, leave := q.Join("a")
	assert.True(t, isOpen(again))
	assert.Empty(t, q.Handed("a"), "an empty line forgets its value")
	leaveThird()
	late, leaveLate := q.Join("a")
	assert.False(t, isOpen(late), "an old leave does nothing")
	leave()
	leaveLate()
}

func TestMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := Memory{Keep: time.Minute}
		assert.False(t, m.Has("a"))
		assert.True(t, m.Note("a", 1))
		assert.False(t, m.Note("a", 1))
		assert.True(t, m.Note("a", 2))
		assert.True(t, m.Note("b", 2))
		time.Sleep(40 * time.Second)
		assert.False(t, m.Note("a", 2))
		time.Sleep(40 * time.Second)
		assert.True(t, m.Has("a"), "Note begins the time anew")
		assert.False(t, m.Has("b"))
		m.Forget("a")
		m.Forget("b")
		assert.False(t, m.Has("a"))
		assert.True(t, m.Note("a", 2))
		time.Sleep(time.Minute + time.Second)
		assert.False(t, m.Has("a"))
		assert.Empty(t, m.notes)
	})
}
