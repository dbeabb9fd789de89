package dynamotest

import (
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func str(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
func num(n any) types.AttributeValue    { return &types.AttributeValueMemberN{Value: fmt.Sprint(n)} }

func idKey(id string) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{"id": str(id)}
}

// noRetry makes failures reach the test.
func noRetry(o *dynamodb.Options) { o.Retryer = aws.NopRetryer{} }

// sessions makes a server with a table "sessions" and an index of users.
func sessions(tb testing.TB, optFns ...func(*dynamodb.Options)) (*Server, *dynamodb.Client) {
	tb.Helper()
	s := NewServer()
	tb.Cleanup(s.Close)
	c := s.Client(optFns...)
	_, err := c.CreateTable(context.Background(), &dynamodb.CreateTableInput{
		TableName:   aws.String("sessions"),
		BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: aws.String("id"), AttributeType: types.ScalarAttributeTypeS},
			{AttributeName: aws.String("user"), AttributeType: types.ScalarAttributeTypeS},
		},
		KeySchema: []types.KeySchemaElement{{AttributeName: aws.String("id"), KeyType: types.KeyTypeHash}},
		GlobalSecondaryIndexes: []types.GlobalSecondaryIndex{{
			IndexName:  aws.String("user"),
			KeySchema:  []types.KeySchemaElement{{AttributeName: aws.String("user"), KeyType: types.KeyTypeHash}},
			Projection: &types.Projection{ProjectionType: types.ProjectionTypeKeysOnly},
		}},
	})
	require.NoError(tb, err)
	s.ResetCalls()
	return s, c
}

func putID(ctx context.Context, c *dynamodb.Client, id string, more map[string]types.AttributeValue) error {
	item := idKey(id)
	maps.Copy(item, more)
	_, err := c.PutItem(ctx, &dynamodb.PutItemInput{TableName: aws.String("sessions"), Item: item})
	return err
}

func getID(ctx context.Context, c *dynamodb.Client, id string, consistent bool) (map[string]types.AttributeValue, error) {
	out, err := c.GetItem(ctx, &dynamodb.GetItemInput{TableName: aws.String("sessions"), Key: idKey(id), ConsistentRead: &consistent})
	if err != nil {
		return nil, err
	}
	return out.Item, nil
}

func TestStartAndClose(t *testing.T) {
	c := Start(t)
	out, err := c.ListTables(t.Context(), &dynamodb.ListTablesInput{})
	require.NoError(t, err)
	require.Empty(t, out.TableNames)

	s := NewServer()
	c = s.Client(noRetry)
	s.Close()
	s.Close()
	_, err = c.ListTables(t.Context(), &dynamodb.ListTablesInput{})
	require.ErrorContains(t, err, "closed")
	require.Empty(t, s.URL())
}

func TestEveryTypeThroughTheClient(t *testing.T) {
	s, c := sessions(t)
	item := map[string]types.AttributeValue{
		"id": str("a"), "n": num("-1.5"), "b": &types.AttributeValueMemberB{Value: []byte{0, 1, 255}}, "t": &types.AttributeValueMemberBOOL{Value: true},
		"z": &types.AttributeValueMemberNULL{Value: true}, "l": &types.AttributeValueMemberL{Value: []types.AttributeValue{str("x"), num(1)}},
		"m": &types.AttributeValueMemberM{Value: map[string]types.AttributeValue{"k": str("é\x00\"\\")}}, "ss": &types.AttributeValueMemberSS{Value: []string{"a", "b"}},
		"ns": &types.AttributeValueMemberNS{Value: []string{"1", "2"}}, "bs": &types.AttributeValueMemberBS{Value: [][]byte{{1}, {2}}},
	}
	require.NoError(t, putID(t.Context(), c, "a", item))
	got, err := getID(t.Context(), c, "a", true)
	require.NoError(t, err)
	require.Equal(t, item, got)
	require.Equal(t, item, s.Item("sessions", "a"))
	require.Equal(t, []map[string]types.AttributeValue{item}, s.Items("sessions"))
	require.Nil(t, s.Item("sessions", "b"))
	require.Nil(t, s.Item("nope", "b"))
	require.Nil(t, s.Items("nope"))
}

func TestURL(t *testing.T) {
	s, mem := sessions(t)
	require.NoError(t, putID(t.Context(), mem, "a", nil))
	url := s.URL()
	require.Equal(t, url, s.URL())
	web := &http.Client{Transport: &http.Transport{}}
	defer web.CloseIdleConnections()
	c := dynamodb.New(dynamodb.Options{Region: "eu-west-1", BaseEndpoint: aws.String(url), HTTPClient: web, Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider("any", "thing", "")})
	item, err := getID(t.Context(), c, "a", true)
	require.NoError(t, err)
	require.Len(t, item, 1)

	for _, kind := range []FaultKind{Cut, Truncate, Garbage} {
		s.Fault(Fault{Kind: kind})
		_, err = getID(t.Context(), c, "a", true)
		require.Error(t, err, kind)
	}

	// Close ends what waits, and waits for it.
	s.Fault(Fault{Kind: Slow, Delay: time.Hour})
	entered := make(chan error)
	s.Intercept(nil)
	go func() {
		_, err := getID(context.Background(), c, "a", true)
		entered <- err
	}()
	require.Eventually(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.faults[len(s.faults)-1].Times == 0 }, time.Minute, time.Millisecond)
	s.Close()
	require.Error(t, <-entered)
}

func TestAnswerHeaders(t *testing.T) {
	s := NewServer()
	defer s.Close()
	web := &http.Client{Transport: &http.Transport{}}
	defer web.CloseIdleConnections()
	for _, op := range []string{"ListTables", "Nonsense", "GetItem"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL(), strings.NewReader("{}"))
		require.NoError(t, err)
		r.Header.Set("X-Amz-Target", "DynamoDB_20120810."+op)
		resp, err := web.Do(r)
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, strconv.FormatUint(uint64(crc32.ChecksumIEEE(body)), 10), resp.Header.Get("X-Amz-Crc32"))
		require.Equal(t, "application/x-amz-json-1.0", resp.Header.Get("Content-Type"))
		require.NotEmpty(t, resp.Header.Get("X-Amzn-Requestid"))
		if op != "ListTables" {
			require.Equal(t, http.StatusBadRequest, resp.StatusCode)
		}
	}
}

func TestUnsupportedByName(t *testing.T) {
	_, c := sessions(t)
	_, err := c.ListBackups(t.Context(), &dynamodb.ListBackupsInput{})
	require.ErrorContains(t, err, "dynamotest: operation ListBackups is not supported")
	_, err = c.Query(t.Context(), &dynamodb.QueryInput{TableName: aws.String("sessions"), KeyConditions: map[string]types.Condition{"id": {ComparisonOperator: types.ComparisonOperatorEq}}})
	require.ErrorContains(t, err, "dynamotest: Query: parameter KeyConditions is not supported")
	_, err = c.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: aws.String("sessions"), Item: idKey("a"), ReturnItemCollectionMetrics: types.ReturnItemCollectionMetricsSize})
	require.ErrorContains(t, err, "dynamotest: PutItem: parameter ReturnItemCollectionMetrics is not supported")
}

func TestHoursPassInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := sessions(t)
		_, err := c.UpdateTimeToLive(t.Context(), &dynamodb.UpdateTimeToLiveInput{TableName: aws.String("sessions"),
			TimeToLiveSpecification: &types.TimeToLiveSpecification{Enabled: aws.Bool(true), AttributeName: aws.String("expires")}})
		require.NoError(t, err)
		start := time.Now()
		for id, expires := range map[string]types.AttributeValue{
			"soon": num(start.Add(time.Hour).Unix()), "later": num(start.Add(3 * time.Hour).Unix()), "text": str("1"), "ancient": num(start.AddDate(-5, 0, -1).Unix()),
		} {
			require.NoError(t, putID(t.Context(), c, id, map[string]types.AttributeValue{"expires": expires, "user": str("u")}))
		}
		require.Zero(t, s.ExpireItems())
		time.Sleep(time.Hour)
		require.Zero(t, s.ExpireItems(), "an item expires after its second")
		time.Sleep(time.Second)
		item, err := getID(t.Context(), c, "soon", true)
		require.NoError(t, err)
		require.NotEmpty(t, item, "nothing goes by itself")
		require.Equal(t, 1, s.ExpireItems())
		time.Sleep(48 * time.Hour)
		require.Equal(t, 1, s.ExpireItems())
		require.Len(t, s.Items("sessions"), 2)
		out, err := c.Query(t.Context(), &dynamodb.QueryInput{TableName: aws.String("sessions"), IndexName: aws.String("user"), KeyConditionExpression: aws.String("#u = :u"),
			ExpressionAttributeNames: map[string]string{"#u": "user"}, ExpressionAttributeValues: map[string]types.AttributeValue{":u": str("u")}})
		require.NoError(t, err)
		require.EqualValues(t, 2, out.Count)
	})
}

func TestTokensLiveTenMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := sessions(t)
		send := func(id string) error {
			_, err := c.TransactWriteItems(t.Context(), &dynamodb.TransactWriteItemsInput{ClientRequestToken: aws.String("token"),
				TransactItems: []types.TransactWriteItem{{Update: &types.Update{TableName: aws.String("sessions"), Key: idKey(id), UpdateExpression: aws.String("ADD n :n"),
					ExpressionAttributeValues: map[string]types.AttributeValue{":n": num(1)}}}}})
			return err
		}
		n := func() string { return s.Item("sessions", "a")["n"].(*types.AttributeValueMemberN).Value }
		require.NoError(t, send("a"))
		require.NoError(t, send("a"))
		require.Equal(t, "1", n())
		var mismatch *types.IdempotentParameterMismatchException
		require.ErrorAs(t, send("b"), &mismatch)
		time.Sleep(10*time.Minute - time.Second)
		require.NoError(t, send("a"))
		require.Equal(t, "1", n())
		time.Sleep(time.Second)
		require.NoError(t, send("a"))
		require.Equal(t, "2", n())
	})
}

func TestLaggingReplicaAndIndex(t *testing.T) {
	s, c := sessions(t)
	require.NoError(t, putID(t.Context(), c, "a", map[string]types.AttributeValue{"n": num(1), "user": str("u")}))
	s.HoldReplicas()
	s.HoldIndexes()
	require.NoError(t, putID(t.Context(), c, "a", map[string]types.AttributeValue{"n": num(2)}))
	require.NoError(t, putID(t.Context(), c, "b", map[string]types.AttributeValue{"user": str("u")}))
	users := func() []map[string]types.AttributeValue {
		out, err := c.Query(t.Context(), &dynamodb.QueryInput{TableName: aws.String("sessions"), IndexName: aws.String("user"), KeyConditionExpression: aws.String("#u = :u"),
			ExpressionAttributeNames: map[string]string{"#u": "user"}, ExpressionAttributeValues: map[string]types.AttributeValue{":u": str("u")}})
		require.NoError(t, err)
		return out.Items
	}
	read := func(id string, consistent bool) map[string]types.AttributeValue {
		item, err := getID(t.Context(), c, id, consistent)
		require.NoError(t, err)
		return item
	}
	scanned := func(consistent bool) int32 {
		out, err := c.Scan(t.Context(), &dynamodb.ScanInput{TableName: aws.String("sessions"), ConsistentRead: &consistent})
		require.NoError(t, err)
		return out.Count
	}
	require.Equal(t, num(1), read("a", false)["n"])
	require.Equal(t, num(2), read("a", true)["n"])
	require.Empty(t, read("b", false))
	require.EqualValues(t, 1, scanned(false))
	require.EqualValues(t, 2, scanned(true))
	require.Equal(t, str("a"), users()[0]["id"])
	s.ReleaseReplicas()
	require.Equal(t, num(2), read("a", false)["n"])
	require.EqualValues(t, 2, scanned(false))
	require.Equal(t, str("a"), users()[0]["id"])
	s.ReleaseIndexes()
	require.Len(t, users(), 1)
	require.Equal(t, str("b"), users()[0]["id"])
}

func TestSegmentsCoverTheTableOnce(t *testing.T) {
	s, c := sessions(t)
	want := map[string]bool{}
	for i := range 300 {
		id := fmt.Sprintf("session_%d", i)
		want[id] = true
		require.NoError(t, putID(t.Context(), c, id, nil))
	}
	for _, total := range []int32{1, 2, 7, 64} {
		seen := map[string]int{}
		for segment := range total {
			pages := dynamodb.NewScanPaginator(c, &dynamodb.ScanInput{TableName: aws.String("sessions"), Limit: aws.Int32(9), Segment: aws.Int32(segment), TotalSegments: aws.Int32(total)})
			for pages.HasMorePages() {
				p, err := pages.NextPage(t.Context())
				require.NoError(t, err)
				for _, item := range p.Items {
					seen[item["id"].(*types.AttributeValueMemberS).Value]++
				}
			}
		}
		require.Len(t, seen, len(want))
		for id, n := range seen {
			require.Equal(t, 1, n, id)
		}
	}
	require.Len(t, s.Items("sessions"), 300)
}

func TestBatchGetStopsAt16MB(t *testing.T) {
	s, c := sessions(t)
	pad := str(strings.Repeat("y", 390<<10))
	keys := []map[string]types.AttributeValue{}
	for i := range 50 {
		id := fmt.Sprint("k", i)
		require.NoError(t, putID(t.Context(), c, id, map[string]types.AttributeValue{"pad": pad}))
		keys = append(keys, idKey(id))
	}
	s.ResetCalls()
	got, pages := 0, 0
	for keys != nil {
		out, err := c.BatchGetItem(t.Context(), &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{"sessions": {Keys: keys, ConsistentRead: aws.Bool(true)}}})
		require.NoError(t, err)
		got += len(out.Responses["sessions"])
		keys = out.UnprocessedKeys["sessions"].Keys
		pages++
	}
	require.Equal(t, 50, got)
	require.Equal(t, 2, pages)
	read, _ := s.Calls().Units()
	require.Equal(t, 50*98, int(read))
}

func TestManyAtOnce(t *testing.T) {
	s, c := sessions(t)
	require.NoError(t, putID(t.Context(), c, "a", map[string]types.AttributeValue{"n": num(0)}))
	s.ResetCalls()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 25 {
				_, err := c.UpdateItem(t.Context(), &dynamodb.UpdateItemInput{TableName: aws.String("sessions"), Key: idKey("a"), UpdateExpression: aws.String("ADD n :n"),
					ExpressionAttributeValues: map[string]types.AttributeValue{":n": num(1)}})
				if err == nil {
					err = putID(t.Context(), c, fmt.Sprint(i, "-", j), map[string]types.AttributeValue{"user": str(fmt.Sprint(j % 3))})
				}
				if err == nil {
					_, err = c.Scan(t.Context(), &dynamodb.ScanInput{TableName: aws.String("sessions")})
				}
				if err != nil {
					t.Error(err)
				}
				s.HoldReplicas()
				s.ReleaseReplicas()
				_ = s.Calls()
			}
		})
	}
	wg.Wait()
	require.Equal(t, num(200), s.Item("sessions", "a")["n"])
	require.Len(t, s.Items("sessions"), 201)
	require.Equal(t, 200, s.Calls().Count("PutItem"))
	require.Equal(t, 600, s.Calls().Count(""))
}

func BenchmarkGetItem(b *testing.B) {
	_, c := sessions(b)
	require.NoError(b, putID(b.Context(), c, "a", map[string]types.AttributeValue{"data": str(strings.Repeat("x", 1000))}))
	for b.Loop() {
		if _, err := getID(b.Context(), c, "a", true); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkServe(b *testing.B) {
	s, c := sessions(b)
	require.NoError(b, putID(b.Context(), c, "a", map[string]types.AttributeValue{"data": str(strings.Repeat("x", 1000))}))
	body := []byte(`{"TableName":"sessions","Key":{"id":{"S":"a"}},"ConsistentRead":true}`)
	for b.Loop() {
		if _, err := s.serve(b.Context(), "DynamoDB_20120810.GetItem", body); err != nil {
			b.Fatal(err)
		}
	}
}
