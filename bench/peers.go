package main

import (
	"context"
	"encoding/base32"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/gorilla/securecookie"
	"github.com/gorilla/sessions"
)

// This file has plain DynamoDB stores for scs and gorilla/sessions, as users of these libraries write
// them.

type attribute = types.AttributeValue

func text(s string) attribute { return &types.AttributeValueMemberS{Value: s} }
func number(n int64) attribute {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}

// tokenKey is the name of the hash key of scsStore's table.
const tokenKey = "token"

// scsStore is a store for scs. It receives the sessions already encoded.
type scsStore struct {
	db     *dynamodb.Client
	table  string
	strong bool
}

var _ scs.CtxStore = (*scsStore)(nil)

func (s *scsStore) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	out, err := s.db.GetItem(ctx, &dynamodb.GetItemInput{
		TableName: &s.table, Key: map[string]attribute{tokenKey: text(token)}, ConsistentRead: &s.strong,
	})
	if err != nil {
		return nil, false, err
	}
	if expires(out.Item["expires"]) <= time.Now().Unix() {
		return nil, false, nil
	}
	data, ok := out.Item["data"].(*types.AttributeValueMemberB)
	if !ok {
		return nil, false, nil
	}
	return data.Value, true, nil
}

func expires(v attribute) int64 {
	n, ok := v.(*types.AttributeValueMemberN)
	if !ok {
		return 0
	}
	at, err := strconv.ParseInt(n.Value, 10, 64)
	if err != nil {
		return 0
	}
	return at
}

func (s *scsStore) CommitCtx(ctx context.Context, token string, b []byte, expiry time.Time) error {
	_, err := s.db.PutItem(ctx, &dynamodb.PutItemInput{TableName: &s.table, Item: map[string]attribute{
		tokenKey: text(token), "data": &types.AttributeValueMemberB{Value: b}, "expires": number(expiry.Unix()),
	}})
	return err
}

func (s *scsStore) DeleteCtx(ctx context.Context, token string) error {
	_, err := s.db.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: &s.table, Key: map[string]attribute{tokenKey: text(token)}})
	return err
}

func (s *scsStore) Find(token string) ([]byte, bool, error) {
	return s.FindCtx(context.Background(), token)
}

func (s *scsStore) Commit(token string, b []byte, expiry time.Time) error {
	return s.CommitCtx(context.Background(), token, b, expiry)
}

func (s *scsStore) Delete(token string) error { return s.DeleteCtx(context.Background(), token) }

// scsSession adapts a session of scs to the session interface.
type scsSession struct {
	manager *scs.SessionManager
	ctx     context.Context
	err     error
}

func (s *scsSession) get(key string) string { return s.manager.GetString(s.ctx, key) }
func (s *scsSession) set(key, json string)  { s.manager.Put(s.ctx, key, json) }
func (s *scsSession) save() error           { return s.err }
func (s *scsSession) destroy()              { s.err = s.manager.Destroy(s.ctx) }

func (s *scsSession) signIn(user string) {
	s.err = s.manager.RenewToken(s.ctx)
	s.manager.Put(s.ctx, "user", user)
}

func scsSite(db *dynamodb.Client, table string, people []person, strong bool, idle time.Duration) http.Handler {
	manager := scs.New()
	manager.Store = &scsStore{db, table, strong}
	manager.IdleTimeout = idle
	return manager.LoadAndSave(&application{people: people, open: func(_ http.ResponseWriter, r *http.Request) (session, error) {
		return &scsSession{manager: manager, ctx: r.Context()}, nil
	}})
}

// gorillaStore is a store for gorilla/sessions. It stores the values as a map attribute.
type gorillaStore struct {
	db      *dynamodb.Client
	table   string
	strong  bool
	codecs  []securecookie.Codec
	options sessions.Options
}

var _ sessions.Store = (*gorillaStore)(nil)

func (s *gorillaStore) Get(r *http.Request, name string) (*sessions.Session, error) {
	return sessions.GetRegistry(r).Get(s, name)
}

func (s *gorillaStore) New(r *http.Request, name string) (*sessions.Session, error) {
	session := sessions.NewSession(s, name)
	options := s.options
	session.Options, session.IsNew = &options, true
	cookie, err := r.Cookie(name)
	if errors.Is(err, http.ErrNoCookie) {
		return session, nil
	}
	if err := securecookie.DecodeMulti(name, cookie.Value, &session.ID, s.codecs...); err != nil {
		return session, err
	}
	out, err := s.db.GetItem(r.Context(), &dynamodb.GetItemInput{
		TableName: &s.table, Key: map[string]attribute{"id": text(session.ID)}, ConsistentRead: &s.strong,
	})
	if err != nil || expires(out.Item["expires"]) <= time.Now().Unix() {
		return session, err
	}
	session.IsNew = false
	if values, ok := out.Item["values"].(*types.AttributeValueMemberM); ok {
		for key, v := range values.Value {
			if v, ok := v.(*types.AttributeValueMemberS); ok {
				session.Values[key] = v.Value
			}
		}
	}
	return session, nil
}

func (s *gorillaStore) Save(r *http.Request, w http.ResponseWriter, session *sessions.Session) error {
	if session.Options.MaxAge < 0 {
		_, err := s.db.DeleteItem(r.Context(), &dynamodb.DeleteItemInput{TableName: &s.table, Key: map[string]attribute{"id": text(session.ID)}})
		http.SetCookie(w, sessions.NewCookie(session.Name(), "", session.Options))
		return err
	}
	if session.ID == "" {
		session.ID = base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(securecookie.GenerateRandomKey(32))
	}
	values := make(map[string]attribute, len(session.Values))
	for key, v := range session.Values {
		values[key.(string)] = text(v.(string))
	}
	_, err := s.db.PutItem(r.Context(), &dynamodb.PutItemInput{TableName: &s.table, Item: map[string]attribute{
		"id": text(session.ID), "values": &types.AttributeValueMemberM{Value: values},
		"expires": number(time.Now().Unix() + int64(session.Options.MaxAge)),
	}})
	if err != nil {
		return err
	}
	value, err := securecookie.EncodeMulti(session.Name(), session.ID, s.codecs...)
	http.SetCookie(w, sessions.NewCookie(session.Name(), value, session.Options))
	return err
}

// gorillaSession adapts a session of gorilla/sessions to the session interface.
type gorillaSession struct {
	*sessions.Session
	w http.ResponseWriter
	r *http.Request
}

func (s *gorillaSession) get(key string) string {
	v, _ := s.Values[key].(string)
	return v
}

func (s *gorillaSession) set(key, json string) { s.Values[key] = json }
func (s *gorillaSession) signIn(user string)   { s.Values["user"] = user }
func (s *gorillaSession) destroy()             { s.Options.MaxAge = -1 }
func (s *gorillaSession) save() error          { return s.Save(s.r, s.w) }

func gorillaSite(db *dynamodb.Client, table string, people []person, strong bool) http.Handler {
	key := securecookie.GenerateRandomKey(32)
	store := &gorillaStore{
		db: db, table: table, strong: strong, codecs: securecookie.CodecsFromPairs(key),
		options: sessions.Options{Path: "/", MaxAge: 24 * 60 * 60, HttpOnly: true, Secure: true},
	}
	return &application{people: people, open: func(w http.ResponseWriter, r *http.Request) (session, error) {
		s, err := store.Get(r, "session")
		return &gorillaSession{s, w, r}, err
	}}
}
