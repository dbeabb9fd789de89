package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/dynasession/dynasession"
)

// roleVar makes the test binary play another program than the tests.
const roleVar = "IDWATCH_TEST_ROLE"

func TestMain(m *testing.M) {
	if os.Getenv(roleVar) != "" {
		command(os.Args[1], os.Args[2])
		return
	}
	os.Exit(m.Run())
}

func command(how, word string) {
	switch how {
	case "stdout":
		fmt.Printf("a %q\n", word)
	case "stderr":
		fmt.Fprintf(os.Stderr, "a/%s/b", word)
	case "end":
		fmt.Print(word)
	case "bytes":
		for _, b := range []byte(word) {
			os.Stdout.Write([]byte{b})
		}
	case "panic":
		panic(word)
	case "child":
		child := exec.Command(os.Args[0], "stderr", word)
		child.Stderr = os.Stderr
		_ = child.Run()
	case "fail":
		fmt.Println(word)
		os.Exit(7)
	}
}

const phpID = "0123456789abcdef0123456789abcdef"

func newID() (id string) {
	for !strings.ContainsAny(id, "0123456789") {
		id = (&dynasession.Store{}).CreateID()
	}
	return id
}

// TestRun: wherever an id is printed, it is heard, and a failure stays one.
func TestRun(t *testing.T) {
	t.Setenv(roleVar, "command")
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	for _, tc := range []struct {
		how, word string
		code      int
	}{
		{"stdout", newID(), 1}, {"stderr", newID(), 1}, {"end", newID(), 1}, {"bytes", newID(), 1},
		{"child", newID(), 1}, {"panic", newID(), 2}, {"fail", newID(), 7},
		{"stdout", "no id", 0}, {"fail", "no id", 7},
	} {
		var out strings.Builder
		assert.Equal(t, tc.code, run([]string{os.Args[0], tc.how, tc.word}, &out), tc.how)
		assert.Contains(t, out.String(), tc.word, tc.how)
		assert.Equal(t, tc.word != "no id", strings.HasSuffix(out.String(), "FAIL: of the words above, 1 could be session ids\n"), "%s: %s", tc.how, &out)
	}
	assert.Equal(t, 1, run([]string{"no such program"}, io.Discard))
	assert.Equal(t, 1, run(nil, io.Discard))
}

func TestWatcher(t *testing.T) {
	for text, ids := range map[string]int{
		newID():                                1,
		newID() + "." + newID():                2,
		"x" + newID() + "x\n":                  1,
		phpID:                                  1,
		phpID[:22]:                             1,
		phpID[:21]:                             0,
		phpID[:16]:                             0, // a Ref
		strings.Repeat("0123 ", 9):             0,
		"6ba7b810-9dad-11d1-80b4-00c04fd430c8": 0,
		"4KBNVRGD25RG1KEO9UT4V3FQDJVV4KQNSO5AEMVJF66Q9ASUAAJG": 0,
		"TestLimitToEndsAtTheSecondAndNeverMovesLater":         0,
	} {
		w := &watcher{out: io.Discard}
		_, _ = io.WriteString(w, text)
		w.word()
		assert.Equal(t, ids, w.ids, text)
	}
}
