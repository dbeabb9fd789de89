package dynasession_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/dynamotest"
	"github.com/dynasession/dynasession/internal/tests/stage"
)

func TestMain(m *testing.M) { stage.Main(m) }

// TestSaveHandler is the contract of the verbs.
func TestSaveHandler(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		ctx := t.Context()
		s := stage.NewStore(t, b, dynasession.Config{})
		var h dynasession.SaveHandler = s
		id, other := s.CreateID(), s.CreateID()

		require.NoError(t, h.Open(ctx))
		_, err := h.Read(ctx, id)
		require.ErrorIs(t, err, dynasession.ErrNotFound)
		require.ErrorIs(t, s.UpdateTimestamp(ctx, id), dynasession.ErrNotFound)
		ok, err := s.ValidateID(ctx, id)
		require.NoError(t, err)
		require.False(t, ok)

		require.NoError(t, h.Write(ctx, id, []byte(`{"a":1}`)))
		data, err := h.Read(ctx, id)
		require.NoError(t, err)
		require.JSONEq(t, `{"a":1}`, string(data))
		ok, err = s.ValidateID(ctx, id)
		require.NoError(t, err)
		require.True(t, ok)

		require.NoError(t, h.Write(ctx, id, []byte(`{"b":2}`)), "an existing one is replaced")
		data, err = h.Read(ctx, id)
		require.NoError(t, err)
		require.Equal(t, `{"b":2}`, string(data))
		require.NoError(t, h.Write(ctx, id, nil))
		data, err = h.Read(ctx, id)
		require.NoError(t, err, "an empty session is one")
		require.Empty(t, data)

		require.NoError(t, s.UpdateTimestamp(ctx, id))
		require.NoError(t, h.Destroy(ctx, other), "an absent one is no error")
		require.NoError(t, h.Destroy(ctx, id))
		_, err = h.Read(ctx, id)
		require.ErrorIs(t, err, dynasession.ErrNotFound)
		require.NoError(t, h.Write(ctx, id, []byte(`{"c":3}`)), "PHP's write creates")
		data, err = h.Read(ctx, id)
		require.NoError(t, err)
		require.Equal(t, `{"c":3}`, string(data))

		n, err := h.GC(ctx, 0)
		require.NoError(t, err)
		require.Zero(t, n)
		require.NoError(t, h.Close())
	})
}

func TestWriteKeepsMarksAndMovesRev(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		table := stage.NewTable()
		s := stage.NewStore(t, b, dynasession.Config{Table: table})
		id := s.CreateID()
		require.NoError(t, s.Write(t.Context(), id, []byte(`{"a":1}`)))
		first := stage.OnlyItem(t, b, table)
		require.NoError(t, s.Write(t.Context(), id, []byte(`{"a":2}`)))
		second := stage.OnlyItem(t, b, table)
		assert.Equal(t, stage.Attr(first, "w"), stage.Attr(second, "w"))
		assert.Equal(t, "1", stage.Attr(first, "rev"))
		assert.Equal(t, "2", stage.Attr(second, "rev"))
		assert.Equal(t, stage.Attr(first, "born"), stage.Attr(second, "born"))
	})
}

func TestInvalidIDsAreNeverSent(t *testing.T) {
	b := stage.Embedded(t)
	s := stage.NewStore(t, b, dynasession.Config{})
	good := s.CreateID()
	for _, id := range []string{"", "x", good[1:], good + "a", good[1:] + "_", good[1:] + "é", strings.Repeat("a", 300), good[1:] + "\x00"} {
		_, err := s.Read(t.Context(), id)
		require.ErrorIs(t, err, dynasession.ErrInvalidID)
		require.ErrorIs(t, err, dynasession.ErrNotFound)
		require.ErrorIs(t, s.Write(t.Context(), id, []byte("{}")), dynasession.ErrInvalidID)
		require.ErrorIs(t, s.Destroy(t.Context(), id), dynasession.ErrInvalidID)
		require.ErrorIs(t, s.UpdateTimestamp(t.Context(), id), dynasession.ErrInvalidID)
		ok, err := s.ValidateID(t.Context(), id)
		require.NoError(t, err)
		require.False(t, ok)
	}
	require.Empty(t, b.Calls.Take())
}

func TestTooLarge(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		s := stage.NewStore(t, b, dynasession.Config{NoCompression: true, Concurrency: dynasession.Merge})
		id := s.CreateID()
		// DynamoDB itself takes just what this lets through.
		low, high := 0, 500<<10
		for high-low > 1 {
			n := (low + high) / 2
			err := s.Write(t.Context(), id, []byte(strings.Repeat("x", n)))
			if err == nil {
				low = n
				continue
			}
			require.ErrorIs(t, err, dynasession.ErrTooLarge)
			high = n
		}
		b.Calls.Take()
		err := s.Write(t.Context(), id, []byte(strings.Repeat("x", 450_000)))
		require.ErrorIs(t, err, dynasession.ErrTooLarge)
		require.Regexp(t, `450\d\d\d bytes, the limit is 409600 \(400 KB\)`, err.Error())
		require.Empty(t, b.Calls.Take(), "refused before any call")
		require.Greater(t, low, 409_000)

		// Through a session: an error response, and what is stored stays.
		a := stage.App{
			"/small": func(s *dynasession.Session, _ http.ResponseWriter, _ *http.Request) { s.Set("a", "small") },
			"/big": func(s *dynasession.Session, w http.ResponseWriter, _ *http.Request) {
				s.Set("b", strings.Repeat("x", 450_000))
				stage.Write(w, "saved")
			},
			"/get": func(s *dynasession.Session, w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, s.Keys()) },
		}
		br := stage.NewBrowser(t, s.Middleware(a))
		br.OK("/small")
		w := br.Get("/big")
		require.Equal(t, http.StatusInternalServerError, w.Code)
		require.NotContains(t, w.Body.String(), "saved")
		require.Equal(t, "[a]", br.OK("/get"))
	})
}

func TestErrTable(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		ctx := t.Context()
		s, err := dynasession.New(b.Client, dynasession.Config{Table: stage.NewTable()})
		require.NoError(t, err)
		require.ErrorIs(t, s.Open(ctx), dynasession.ErrTable)
		_, err = s.Read(ctx, s.CreateID())
		require.ErrorIs(t, err, dynasession.ErrTable)
		require.ErrorContains(t, err, "CreateTable")
		notFound := (*types.ResourceNotFoundException)(nil)
		require.ErrorAs(t, err, &notFound, "AWS's own error is reachable")

		// Wrong in every way at once.
		table := stage.NewTable()
		_, err = b.Client.CreateTable(ctx, &dynamodb.CreateTableInput{
			TableName: &table, BillingMode: types.BillingModePayPerRequest,
			KeySchema: []types.KeySchemaElement{
				{AttributeName: aws.String("pk"), KeyType: types.KeyTypeHash},
				{AttributeName: aws.String("sk"), KeyType: types.KeyTypeRange},
			},
			AttributeDefinitions: []types.AttributeDefinition{
				{AttributeName: aws.String("pk"), AttributeType: types.ScalarAttributeTypeS},
				{AttributeName: aws.String("sk"), AttributeType: types.ScalarAttributeTypeS},
			},
		})
		require.NoError(t, err)
		s, err = dynasession.New(b.Client, dynasession.Config{Table: table, UserIndex: "by-user"})
		require.NoError(t, err)
		err = s.Open(ctx)
		require.ErrorIs(t, err, dynasession.ErrTable)
		for _, part := range []string{`HASH "pk" of type S RANGE "sk" of type S`, "TTL is off", `no global secondary index "by-user"`} {
			require.ErrorContains(t, err, part)
		}
		_, err = s.Read(ctx, s.CreateID())
		require.ErrorIs(t, err, dynasession.ErrTable)
		require.ErrorIs(t, s.CreateTable(ctx), dynasession.ErrTable)

		// TTL on another attribute.
		right := stage.NewStore(t, b, dynasession.Config{})
		require.NoError(t, right.CreateTable(ctx), "a right table is no error")
		table = stage.NewTable()
		stage.NewStore(t, b, dynasession.Config{Table: table, Attributes: dynasession.Attributes{Expires: "ttl"}})
		s, err = dynasession.New(b.Client, dynasession.Config{Table: table})
		require.NoError(t, err)
		require.ErrorContains(t, s.Open(ctx), `TTL is on the attribute "ttl", not on "expires"`)
		require.ErrorIs(t, s.CreateTable(ctx), dynasession.ErrTable)
		s, err = dynasession.New(b.Client, dynasession.Config{Table: table, Attributes: dynasession.Attributes{ID: "key", Expires: "ttl"}})
		require.NoError(t, err)
		require.ErrorContains(t, s.Open(ctx), `its key is HASH "id" of type S, not the one hash key "key"`)
	})
}

func TestCreateTable(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		table := stage.NewTable()
		stage.NewStore(t, b, dynasession.Config{Table: table, UserIndex: "users", Attributes: dynasession.Attributes{ID: "pk", User: "who"}})
		out, err := b.Client.DescribeTable(t.Context(), &dynamodb.DescribeTableInput{TableName: &table})
		require.NoError(t, err)
		require.Equal(t, types.BillingModePayPerRequest, out.Table.BillingModeSummary.BillingMode)
		require.True(t, *out.Table.DeletionProtectionEnabled)
		require.Equal(t, "pk", *out.Table.KeySchema[0].AttributeName)
		require.Len(t, out.Table.GlobalSecondaryIndexes, 1)
		require.Equal(t, types.ProjectionTypeKeysOnly, out.Table.GlobalSecondaryIndexes[0].Projection.ProjectionType)

		// One that was made and lost its TTL gets it by a second call.
		_, err = b.Client.UpdateTimeToLive(t.Context(), &dynamodb.UpdateTimeToLiveInput{TableName: &table, TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: aws.String("expires"), Enabled: aws.Bool(false)}})
		require.NoError(t, err)
		s, err := dynasession.New(b.Client, dynasession.Config{Table: table, UserIndex: "users", Attributes: dynasession.Attributes{ID: "pk", User: "who"}})
		require.NoError(t, err)
		require.ErrorContains(t, s.Open(t.Context()), "TTL is off")
		require.NoError(t, s.CreateTable(t.Context()))
	})
}

func TestSweep(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		ctx := t.Context()
		table := stage.NewTable()
		s := stage.NewStore(t, b, dynasession.Config{Table: table})
		now := time.Now().Unix()
		key := func(i int) string { return "session_" + fmt.Sprintf("%064x", i) }
		add := func(i int, age int64, more map[string]types.AttributeValue) {
			item := map[string]types.AttributeValue{"id": stage.Str(key(i)), "expires": stage.Num(fmt.Sprint(now - age)), "data": stage.Str("{}")}
			maps.Copy(item, more)
			stage.PutItem(t, b, table, item)
		}
		for i := range 20 {
			add(i, 1000, nil)
		}
		add(20, 30, nil)    // within the margin for clocks
		add(21, -3600, nil) // live, just used
		add(22, -600, nil)  // live, used 50 minutes ago
		add(23, -600, map[string]types.AttributeValue{"idle": stage.Num("86400"), "until": stage.Num(fmt.Sprint(now + 600))})
		stage.PutItem(t, b, table, map[string]types.AttributeValue{"id": stage.Str("other_" + strings.Repeat("0", 64)), "expires": stage.Num("1")})
		stage.PutItem(t, b, table, map[string]types.AttributeValue{"id": stage.Str("session_" + strings.Repeat("1", 64))}) // no expires

		dry, err := s.Sweep(ctx, dynasession.SweepOptions{DryRun: true})
		require.NoError(t, err)
		require.Equal(t, 20, dry.Expired)
		require.Zero(t, dry.Deleted)
		require.Equal(t, 26, dry.Scanned)
		require.Positive(t, dry.ReadUnits)

		var told []dynasession.SweepStats
		stats, err := s.Sweep(ctx, dynasession.SweepOptions{Segments: 4, Progress: func(p dynasession.SweepStats) { told = append(told, p) }})
		require.NoError(t, err)
		require.Equal(t, 20, stats.Deleted)
		require.Len(t, told, 4, "one page each")
		require.Equal(t, stats, told[3])
		require.Len(t, stage.Items(t, b, table), 6)

		n, err := s.GC(ctx, 20*time.Minute)
		require.NoError(t, err)
		require.Equal(t, 2, n, "those that were not used for 50 minutes and longer; of the remembered one nobody can tell")
		require.Len(t, stage.Items(t, b, table), 4)

		_, err = s.Sweep(ctx, dynasession.SweepOptions{Segments: -1})
		require.Error(t, err)
		done, cancel := context.WithCancel(ctx)
		cancel()
		_, err = s.Sweep(done, dynasession.SweepOptions{})
		require.ErrorIs(t, err, context.Canceled)
	})
}

// TestParallelChanges: 20 requests at once, each with its own key, all of them kept.
func TestParallelChanges(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		s := stage.NewStore(t, b, dynasession.Config{})
		most := 0
		defer func() { t.Logf("at most %d UpdateItem for 20 changes at once", most) }()
		for round := range 100 {
			br, barrier := stage.NewBrowser(t, nil), make(chan struct{})
			var loaded sync.WaitGroup
			a := stage.App{
				"/first": func(s *dynasession.Session, _ http.ResponseWriter, _ *http.Request) { s.Set("round", round) },
				"/set": func(s *dynasession.Session, w http.ResponseWriter, r *http.Request) {
					loaded.Done()
					<-barrier // all have loaded before the first saves
					s.Set(r.FormValue("key"), "value")
					Update(s, "count")
					stage.Write(w, "saved")
				},
				"/keys": func(s *dynasession.Session, w http.ResponseWriter, _ *http.Request) {
					n, _ := dynasession.Get[int](s, "count")
					fmt.Fprint(w, len(s.Keys()), n)
				},
			}
			br.Handler = s.Middleware(a)
			br.OK("/first")
			const parallel = 20
			loaded.Add(parallel)
			var wg sync.WaitGroup
			codes := make([]int, parallel)
			for i := range parallel {
				wg.Go(func() { codes[i] = br.Get(fmt.Sprintf("/set?key=k%d", i)).Code })
			}
			loaded.Wait()
			close(barrier)
			wg.Wait()
			for _, code := range codes {
				require.Equal(t, http.StatusOK, code)
			}
			// In one process, those that were refused go on from what the one before has stored.
			writes := 0
			for _, op := range b.Calls.Take() {
				if op == "UpdateItem" {
					writes++
				}
			}
			require.LessOrEqual(t, writes, 3*parallel)
			most = max(most, writes)
			require.Equal(t, "22 20", br.OK("/keys"))
		}
	})
}

// Update counts, as every handler that counts would.
func Update(s *dynasession.Session, key string) {
	dynasession.Update(s, key, func(n int) int { return n + 1 })
}

func TestUserSessions(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		ctx := t.Context()
		s := stage.NewStore(t, b, dynasession.Config{})
		a := stage.App{
			"/login": func(s *dynasession.Session, _ http.ResponseWriter, r *http.Request) {
				s.SetUser(r.FormValue("user"))
				s.Set("device", r.FormValue("device"))
			},
			"/me": func(s *dynasession.Session, w http.ResponseWriter, _ *http.Request) {
				stage.Write(w, s.User()+" "+s.Ref())
			},
		}
		h := s.Middleware(a)
		phone, laptop, other := stage.NewBrowser(t, h), stage.NewBrowser(t, h), stage.NewBrowser(t, h)
		phone.OK("/login?user=ann&device=phone")
		laptop.OK("/login?user=ann&device=laptop")
		other.OK("/login?user=bob&device=tv")

		infos, err := s.UserSessions(ctx, "ann")
		require.NoError(t, err)
		require.Len(t, infos, 2)
		var devices []string
		for _, i := range infos {
			var d string
			require.NoError(t, i.Decode("device", &d))
			require.ErrorIs(t, i.Decode("nothing", &d), dynasession.ErrNoKey)
			require.Equal(t, "ann", i.User)
			require.WithinDuration(t, time.Now(), i.AuthTime, 5*time.Second)
			require.WithinDuration(t, time.Now(), i.LastUsed, 5*time.Second)
			devices = append(devices, d)
		}
		require.ElementsMatch(t, []string{"phone", "laptop"}, devices)

		n, err := s.DestroyUser(ctx, "ann", func(i dynasession.Info) bool { return laptop.OK("/me") == "ann "+i.Ref })
		require.NoError(t, err)
		require.Equal(t, 1, n)
		require.Equal(t, " ", phone.OK("/me"))
		require.Contains(t, laptop.OK("/me"), "ann ")
		require.Contains(t, other.OK("/me"), "bob ")

		n, err = s.DestroyUser(ctx, "ann", nil)
		require.NoError(t, err)
		require.Equal(t, 1, n)
		require.Equal(t, " ", laptop.OK("/me"))
		_, err = s.UserSessions(ctx, "")
		require.Error(t, err)

		none, err := dynasession.New(b.Client, dynasession.Config{})
		require.NoError(t, err)
		_, err = none.UserSessions(ctx, "ann")
		require.ErrorIs(t, err, dynasession.ErrTable)
		_, err = none.DestroyUser(ctx, "ann", nil)
		require.ErrorIs(t, err, dynasession.ErrTable)
	})
}

// TestParallelSessions: a user may have any number of sessions. Who wants a limit counts them at
// the sign-in, and ends the oldest.
func TestParallelSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit, devices = 5, 12
		sc := stage.EmptyScene(t, stage.Embedded(t), dynasession.Config{})
		var all []*stage.Browser
		for range devices {
			br := stage.NewBrowser(t, sc.Handler)
			br.OK("/login?alice")
			all = append(all, br)
			time.Sleep(time.Second)
		}
		infos, err := sc.Store.UserSessions(t.Context(), "alice")
		require.NoError(t, err)
		require.Len(t, infos, devices)
		slices.SortFunc(infos, func(a, b dynasession.Info) int { return b.AuthTime.Compare(a.AuthTime) })
		n, err := sc.Store.DestroyUser(t.Context(), "alice", func(i dynasession.Info) bool {
			return slices.ContainsFunc(infos[:limit], func(kept dynasession.Info) bool { return kept.Ref == i.Ref })
		})
		require.NoError(t, err)
		assert.Equal(t, devices-limit, n)
		for i, br := range all {
			want := "none"
			if i >= devices-limit {
				want = "alice"
			}
			assert.Equal(t, want, br.OK("/read"), "device %d", i)
		}
	})
}

func TestObserver(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		var mu sync.Mutex
		var events []dynasession.Event
		s := stage.NewStore(t, b, dynasession.Config{Observer: func(_ context.Context, e dynasession.Event) {
			mu.Lock()
			defer mu.Unlock()
			events = append(events, e)
		}})
		a := stage.App{
			"/set":   func(s *dynasession.Session, _ http.ResponseWriter, _ *http.Request) { s.Set("a", time.Now()) },
			"/login": func(s *dynasession.Session, _ http.ResponseWriter, _ *http.Request) { s.SetUser("ann") },
			"/out":   func(s *dynasession.Session, _ http.ResponseWriter, _ *http.Request) { s.Destroy() },
		}
		br := stage.NewBrowser(t, s.Middleware(a))
		for _, path := range []string{"/set", "/set", "/login", "/out"} {
			br.OK(path)
		}
		var ops []string
		for _, e := range events {
			ops = append(ops, fmt.Sprintf("%s %v %v", e.Op, e.ReadUnits, e.WriteUnits))
			require.NoError(t, e.Err)
			require.Len(t, e.Ref, 16)
			require.WithinDuration(t, time.Now(), e.Start, time.Minute)
		}
		// A renewal is billed twice for both items, and writes the index too. DynamoDB Local
		// counts transactional units once more.
		renew := "renew 0 6"
		if b.Server == nil {
			renew = "renew 0 12"
		}
		load := "load 1 0"
		if *stage.WithEventualReads {
			load = "load 0.5 0"
		}
		require.Equal(t, []string{"save 0 1", load, "save 0 1", load, renew, load, "destroy 0 2"}, ops)

		events = nil
		_, err := s.Read(t.Context(), s.CreateID())
		require.ErrorIs(t, err, dynasession.ErrNotFound)
		require.ErrorIs(t, events[0].Err, dynasession.ErrNotFound)
	})
}

// TestWriteBesideAnother: a session that is made between Write's two calls is written to, not over.
func TestWriteBesideAnother(t *testing.T) {
	stage.EachBackend(t, func(t *testing.T, b *stage.Backend) {
		sc := stage.EmptyScene(t, b, dynasession.Config{})
		id := sc.Store.CreateID()
		var made map[string]types.AttributeValue
		sc.Around("PutItem", func(apply func()) error {
			assert.NoError(t, sc.Store.Write(t.Context(), id, []byte(`{"theirs":1}`)))
			made = sc.Item()
			apply()
			return nil
		})
		require.NoError(t, sc.Store.Write(t.Context(), id, []byte(`{"mine":1}`)))
		assert.Equal(t, made["w"], sc.Item()["w"], "running requests merge with it")
		assert.Equal(t, "2", stage.Attr(sc.Item(), "rev"))
	})
}

// TestWriteKeepsRemembered: a Write from outside does not cut a remembered session short.
func TestWriteKeepsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sc := stage.NewScene(t, stage.Embedded(t), dynasession.Config{})
		sc.Paths["/remember"] = func(s *stage.Session, _ http.ResponseWriter, _ *http.Request) { s.Remember(30 * 24 * time.Hour) }
		sc.OK("/remember")
		id, expires := sc.ID(), stage.Attr(sc.Item(), "expires")
		require.NoError(t, sc.Store.Write(t.Context(), id, []byte(`{"n":1}`)))
		assert.Equal(t, expires, stage.Attr(sc.Item(), "expires"))
		time.Sleep(2 * time.Hour)
		assert.Equal(t, "n", sc.OK("/read"))
		time.Sleep(31 * 24 * time.Hour) // its id is written anew, as a session like any other
		require.NoError(t, sc.Store.Write(t.Context(), id, []byte(`{"n":1}`)))
		assert.Equal(t, stage.In(time.Hour), sc.Item()["expires"])
	})
}

// TestVerbsBesideARenewal: the transaction that is in the way is over soon.
func TestVerbsBesideARenewal(t *testing.T) {
	b := stage.Embedded(t)
	sc := stage.NewScene(t, b, dynasession.Config{})
	conflict := dynamotest.Fault{Operation: "UpdateItem", Kind: dynamotest.Refuse, Code: "TransactionConflictException"}
	b.Server.Fault(conflict)
	assert.NoError(t, sc.Store.Write(t.Context(), sc.ID(), []byte(`{"n":1}`)))
	b.Server.Fault(conflict)
	assert.NoError(t, sc.Store.UpdateTimestamp(t.Context(), sc.ID()))
}
