package dynamotest

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// One table of cases is answered by this package and by DynamoDB Local. Local's answers are kept
// in testdata, so that the comparison also runs where there is no Java.

var update = flag.Bool("update", false, "record the answers of DynamoDB Local in testdata")

const endpointVariable = "DYNAMODB_LOCAL_ENDPOINT"

// obj is a JSON object.
type obj = map[string]any

// step is one request. Its table name is put in where it lacks one, and $T stands for it elsewhere.
type step struct {
	op string
	in any

	// setup is true if only the status of the answer matters.
	setup bool

	// Where DynamoDB Local deviates from the service: why we think so, and our answer.
	why, want string
}

type conformanceCase struct {
	name  string
	steps []step
}

func TestConformanceRecorded(t *testing.T) {
	recorded := map[string][]string{}
	b, err := os.ReadFile(filepath.Join("testdata", "local.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &recorded))
	require.GreaterOrEqual(t, len(conformanceCases()), 150)
	for _, c := range conformanceCases() {
		t.Run(c.name, func(t *testing.T) {
			require.Contains(t, recorded, c.name, "record it with -update")
			compare(t, c, recorded[c.name], brief)
		})
	}
}

func TestConformanceLocal(t *testing.T) {
	endpoint := os.Getenv(endpointVariable)
	if endpoint == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal(endpointVariable + " is not set, but CI must compare with DynamoDB Local")
		}
		t.Skip(endpointVariable + " is not set: nothing to compare with but the recorded answers")
	}
	recorded := map[string][]string{}
	for _, c := range conformanceCases() {
		t.Run(c.name, func(t *testing.T) {
			answers := c.run(t, endpoint)
			compare(t, c, answers, func(s string) string { return s })
			require.NotContains(t, recorded, c.name, "two cases have this name")
			for _, a := range answers {
				recorded[c.name] = append(recorded[c.name], brief(a))
			}
		})
	}
	if *update {
		b, err := json.MarshalIndent(recorded, "", " ")
		require.NoError(t, err)
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(filepath.Join("testdata", "local.json"), append(b, '\n'), 0o644))
	}
}

// brief is what is recorded of an answer: of a long one the beginning and a digest.
func brief(answer string) string {
	if len(answer) <= 500 {
		return answer
	}
	return fmt.Sprintf("%s… %x", strings.ToValidUTF8(answer[:300], ""), sha256.Sum256([]byte(answer)))
}

// compare asks this package and holds its answers to those of Local.
func compare(t *testing.T, c conformanceCase, local []string, form func(string) string) {
	t.Helper()
	s := httptest.NewServer(NewServer())
	defer s.Close()
	ours := c.run(t, s.URL)
	require.Len(t, local, len(ours))
	for i, st := range c.steps {
		if st.why == "" {
			require.Equal(t, local[i], form(ours[i]), "step %d: %s", i, st.op)
			continue
		}
		require.Equal(t, st.want, ours[i], "step %d: %s: %s", i, st.op, st.why)
		require.NotEqual(t, st.want, local[i], "step %d: Local does not deviate any more: %s", i, st.why)
	}
}

var tableNumber atomic.Int64

func (c conformanceCase) run(t *testing.T, endpoint string) []string {
	t.Helper()
	name := fmt.Sprintf("dt-%x-%d", time.Now().UnixNano(), tableNumber.Add(1))
	defer func() {
		for _, suffix := range []string{"", "-2"} {
			call(t, endpoint, "UpdateTable", fmt.Sprintf(`{"TableName":%q,"DeletionProtectionEnabled":false}`, name+suffix))
			call(t, endpoint, "DeleteTable", fmt.Sprintf(`{"TableName":%q}`, name+suffix))
		}
	}()
	var answers []string
	for _, st := range c.steps {
		answers = append(answers, strings.ReplaceAll(st.send(t, endpoint, name), name, "$T"))
	}
	return answers
}

func (st step) send(t *testing.T, endpoint, name string) string {
	t.Helper()
	body, isText := st.in.(string)
	if !isText {
		in := with(st.in.(obj))
		if _, ok := in["TableName"]; !ok && !strings.HasPrefix(st.op, "Batch") && !strings.HasPrefix(st.op, "Transact") && st.op != "ListTables" {
			in["TableName"] = "$T"
		}
		if st.op == "walk" {
			return walk(t, endpoint, name, in)
		}
		b, err := json.Marshal(in)
		require.NoError(t, err)
		body = string(b)
	}
	a := call(t, endpoint, st.op, strings.ReplaceAll(body, "$T", name))
	if st.setup {
		return fmt.Sprint(a.status)
	}
	return normal(st.op, a)
}

// walk reads a table to its end by small pages, since DynamoDB does not promise the order of a Scan.
func walk(t *testing.T, endpoint, name string, in obj) string {
	t.Helper()
	op, _ := in["op"].(string)
	delete(in, "op")
	var items []any
	var counts []string
	for {
		b, err := json.Marshal(in)
		require.NoError(t, err)
		var out obj
		answer := call(t, endpoint, op, strings.ReplaceAll(string(b), "$T", name))
		require.Equal(t, http.StatusOK, answer.status, answer.body)
		require.NoError(t, json.Unmarshal([]byte(answer.body), &out))
		found, _ := out["Items"].([]any)
		items = append(items, found...)
		counts = append(counts, fmt.Sprint(out["Count"], "/", out["ScannedCount"]))
		last, more := out["LastEvaluatedKey"]
		if !more {
			break
		}
		in["ExclusiveStartKey"] = last
	}
	if op == "Scan" {
		slices.SortFunc(items, func(a, b any) int { return strings.Compare(text(a), text(b)) })
	}
	return fmt.Sprint(counts, " ", text(items))
}

type rawAnswer struct {
	status int
	body   string
}

func call(t *testing.T, endpoint, op, body string) rawAnswer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, endpoint, bytes.NewReader([]byte(body)))
	if err != nil { // after the test's end its context is gone
		return rawAnswer{}
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.0")
	r.Header.Set("X-Amz-Target", "DynamoDB_20120810."+op)
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=dynamotest/20200101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=none")
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return rawAnswer{resp.StatusCode, string(b)}
}

// normal is an answer without what differs by nature: times, names of the region, orders that
// nobody promises.
func normal(op string, a rawAnswer) string {
	var out obj
	if json.Unmarshal([]byte(a.body), &out) != nil {
		return fmt.Sprint(a.status, " ", a.body)
	}
	if kind, ok := out["__type"].(string); ok {
		_, code, _ := strings.Cut(kind, "#")
		line := fmt.Sprint(a.status, " ", code, ": ", out["Message"])
		delete(out, "__type")
		delete(out, "Message")
		if len(out) > 0 {
			line += " " + strings.ReplaceAll(text(out), "request failed.", "request failed") // Local is not sure of the dot
		}
		return line
	}
	strip(out)
	if op == "Scan" || op == "BatchGetItem" {
		sortLists(out)
	}
	return fmt.Sprint(a.status, " ", text(out))
}

func strip(x any) {
	switch x := x.(type) {
	case obj:
		for _, k := range []string{"CreationDateTime", "TableArn", "IndexArn", "LastIncreaseDateTime", "LastDecreaseDateTime", "LastUpdateToPayPerRequestDateTime", "TableSizeBytes", "IndexSizeBytes", "NumberOfDecreasesToday"} {
			delete(x, k)
		}
		for _, v := range x {
			strip(v)
		}
	case []any:
		for _, v := range x {
			strip(v)
		}
	}
}

func sortLists(x any) {
	switch x := x.(type) {
	case obj:
		for k, v := range x {
			if l, ok := v.([]any); ok && k != "L" {
				slices.SortFunc(l, func(a, b any) int { return strings.Compare(text(a), text(b)) })
			}
			sortLists(v)
		}
	case []any:
		for _, v := range x {
			sortLists(v)
		}
	}
}

func text(x any) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(x); err != nil {
		return err.Error()
	}
	return strings.TrimSpace(b.String())
}
