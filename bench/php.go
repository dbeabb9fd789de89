package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// This file models the calls that the DynamoDB session handler of the AWS SDK for PHP 3.305 makes.
// PHP reads in session_start, and writes after every request that started the session, even if
// nothing has changed. The items are the handler's, in the format of PHP's default serializer.

const phpLifetime = 1440 * time.Second // session.gc_maxlifetime

type phpSession struct {
	*phpHandler
	r      *http.Request
	id     string
	loaded string
	keys   []string
	values map[string]string
	gone   bool
}

type phpHandler struct {
	db      *dynamodb.Client
	table   string
	locking bool
}

func (s *phpSession) key() map[string]attribute {
	return map[string]attribute{"id": text("PHPSESSID_" + s.id)}
}

// read loads the session as the handler does. With locking, the same call also takes the lock.
func (s *phpSession) read() error {
	var found map[string]attribute
	if s.locking {
		out, err := s.db.UpdateItem(s.r.Context(), &dynamodb.UpdateItemInput{
			TableName: &s.table, Key: s.key(), ReturnValues: types.ReturnValueAllNew,
			Expected:         map[string]types.ExpectedAttributeValue{"lock": {Exists: new(bool)}},
			AttributeUpdates: map[string]types.AttributeValueUpdate{"lock": {Value: number(1)}},
		})
		if err != nil {
			return err
		}
		found = out.Attributes
	} else {
		strong := true
		out, err := s.db.GetItem(s.r.Context(), &dynamodb.GetItemInput{TableName: &s.table, Key: s.key(), ConsistentRead: &strong})
		if err != nil {
			return err
		}
		found = out.Item
	}
	data, ok := found["data"].(*types.AttributeValueMemberS)
	if !ok || expires(found["expires"]) <= time.Now().Unix() {
		return nil
	}
	s.loaded = data.Value
	return s.decode(data.Value)
}

// decode parses the strings in the format of PHP's serializer "php": key|s:length:"bytes";
func (s *phpSession) decode(data string) error {
	for data != "" {
		key, rest, ok := strings.Cut(data, `|s:`)
		length, rest, ok2 := strings.Cut(rest, `:"`)
		n, err := strconv.Atoi(length)
		if !ok || !ok2 || err != nil || len(rest) < n+2 {
			return errors.New("the data is not a PHP session")
		}
		s.set(key, rest[:n])
		data = rest[n+2:]
	}
	return nil
}

func (s *phpSession) encode() string {
	var b strings.Builder
	for _, key := range s.keys {
		fmt.Fprintf(&b, `%s|s:%d:"%s";`, key, len(s.values[key]), s.values[key])
	}
	return b.String()
}

// write saves the session as the handler does at the end of every request.
func (s *phpSession) write() error {
	updates := map[string]types.AttributeValueUpdate{
		"expires": {Value: number(time.Now().Add(phpLifetime).Unix())},
		"lock":    {Action: types.AttributeActionDelete},
	}
	if data := s.encode(); data != s.loaded {
		updates["data"] = types.AttributeValueUpdate{Value: text(data)}
	}
	_, err := s.db.UpdateItem(s.r.Context(), &dynamodb.UpdateItemInput{TableName: &s.table, Key: s.key(), AttributeUpdates: updates})
	return err
}

func (s *phpSession) get(key string) string { return s.values[key] }

func (s *phpSession) set(key, json string) {
	if _, ok := s.values[key]; !ok {
		s.keys = append(s.keys, key)
	}
	s.values[key] = json
}

func (s *phpSession) signIn(user string) { s.set("user", user) }
func (s *phpSession) destroy()           { s.gone = true }

func (s *phpSession) save() error { return nil }

func (s *phpSession) close() error {
	if !s.gone {
		return s.write()
	}
	_, err := s.db.DeleteItem(s.r.Context(), &dynamodb.DeleteItemInput{TableName: &s.table, Key: s.key()})
	return err
}

func phpSite(db *dynamodb.Client, table string, people []person, locking bool) http.Handler {
	handler := &phpHandler{db, table, locking}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var started *phpSession
		app := &application{people: people, open: func(w http.ResponseWriter, r *http.Request) (session, error) {
			s := &phpSession{phpHandler: handler, r: r, values: map[string]string{}}
			if cookie, err := r.Cookie("PHPSESSID"); err == nil {
				s.id = cookie.Value
			} else {
				s.id = rand.Text()
				http.SetCookie(w, &http.Cookie{Name: "PHPSESSID", Value: s.id, Path: "/", Secure: true, HttpOnly: true})
			}
			started = s
			err := s.read()
			return s, err
		}}
		answer := &held{ResponseWriter: w}
		app.ServeHTTP(answer, r)
		if started != nil {
			if err := started.close(); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
		}
		answer.send()
	})
}

// held buffers a response until the session is closed, as PHP's output buffer does. The browser's
// request must not end before that.
type held struct {
	http.ResponseWriter
	status int
	body   []byte
}

func (h *held) WriteHeader(status int) { h.status = status }

func (h *held) Write(b []byte) (int, error) {
	h.body = append(h.body, b...)
	return len(b), nil
}

func (h *held) send() {
	if h.status != 0 {
		h.ResponseWriter.WriteHeader(h.status)
	}
	_, _ = h.ResponseWriter.Write(h.body) // fails only if the client has gone
}
