package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// The other contents of the trace's sessions have the keys and values that frameworks keep: Auth.js with an OIDC provider,
// Django, and Laravel and CakePHP. The dictionary of this library's compression knows nothing of them.

// contents is what the sessions of a trace hold.
type contents struct {
	name   string
	person func(n int) person
}

var (
	shop       = contents{"a shop", func(n int) person { return newPerson(n, false) }}
	shopHashes = contents{"a shop, with hashes in URLs", func(n int) person { return newPerson(n, true) }}
	authJS     = contents{"Auth.js with an OIDC provider", newAuthJS}
	django     = contents{"Django", newDjango}
	laravel    = contents{"Laravel and CakePHP", newLaravel}
)

// random makes values that look random.
type random struct{ *rand.Rand }

func (r random) text(alphabet string, length int) string {
	var b strings.Builder
	for range length {
		b.WriteByte(alphabet[r.IntN(len(alphabet))])
	}
	return b.String()
}

const (
	digits    = "0123456789"
	hexDigits = "0123456789abcdef"
	letters   = "abcdefghijklmnopqrstuvwxyz"
	base64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
)

func (r random) pick(list []string) string { return list[r.IntN(len(list))] }

func (r random) uuid() string {
	return strings.Join([]string{r.text(hexDigits, 8), r.text(hexDigits, 4), "4" + r.text(hexDigits, 3), "a" + r.text(hexDigits, 3), r.text(hexDigits, 12)}, "-")
}

func (r random) time() time.Time {
	return time.Date(2026, 11, 1+r.IntN(28), r.IntN(24), r.IntN(60), r.IntN(60), r.IntN(1000)*1e6, time.UTC)
}

// sentence is made of words that no dictionary knows.
func (r random) sentence(words int) string {
	list := make([]string, words)
	for i := range list {
		list[i] = r.text(letters, 2+r.IntN(8))
	}
	return strings.Join(list, " ")
}

type object = map[string]any

// newAuthJS returns the session of an application with Auth.js, which keeps the provider's tokens.
func newAuthJS(n int) person {
	r := random{rand.New(rand.NewPCG(uint64(n), 1))}
	p := person{id: r.uuid()}
	login := r.text(letters, 6+r.IntN(6))
	p.profile = encode("session", object{
		"user":    object{"id": p.id, "name": r.pick(firstNames) + " " + r.pick(lastNames), "email": login + "@" + r.text(letters, 8) + ".io", "image": "https://avatars.githubusercontent.com/u/" + r.text(digits, 8) + "?v=4", "emailVerified": nil},
		"account": object{"provider": "keycloak", "providerAccountId": r.uuid(), "access_token": r.text(base64URL, 340), "expires_at": r.time().Unix(), "scope": "openid email profile", "token_type": "Bearer", "session_state": r.uuid()},
		"expires": r.time(),
	})
	p.small[0] = encode("callbackUrl", "https://app."+r.text(letters, 8)+".dev/projects/"+r.uuid())
	p.small[1] = encode("pkceCodeVerifier", r.text(base64URL, 43))
	var projects []object
	for range 9 {
		projects = append(projects, object{"projectId": r.uuid(), "title": r.sentence(4), "role": r.pick([]string{"owner", "maintainer", "guest"}), "pinned": r.IntN(2) == 0, "openedAt": r.time()})
	}
	p.big = encode("recentProjects", projects)
	return p
}

// newDjango returns the session of a Django site with a form of several steps.
func newDjango(n int) person {
	r := random{rand.New(rand.NewPCG(uint64(n), 2))}
	p := person{id: r.text(digits, 5)}
	p.profile = encode("_auth", object{
		"_auth_user_id": p.id, "_auth_user_backend": "django.contrib.auth.backends.ModelBackend", "_auth_user_hash": r.text(hexDigits, 64),
		"_session_init_timestamp_": float64(r.time().UnixMilli()) / 1000, "_language": r.pick([]string{"cs", "de", "fi", "pt-br"}),
		"django_timezone": r.pick([]string{"Europe/Prague", "Europe/Helsinki", "America/Recife"}), "_csrftoken": r.text(letters+digits, 32),
		"otp_device_id": "otp_totp.totpdevice/" + r.text(digits, 4), "permissions": []string{"polls.add_choice", "polls.view_question", "auth.view_group"},
	})
	p.small[0] = encode("_messages", []any{[]any{"__json_message", 0, 25, r.sentence(7), ""}})
	p.small[1] = encode("_admin_filters", object{"polls/question": "pub_date__year=2026&o=-2.1&q=" + r.text(letters, 6)})
	steps := object{}
	for step := range 8 {
		steps[fmt.Sprintf("step%d", step)] = object{
			"csrfmiddlewaretoken": []string{r.text(letters+digits, 64)}, fmt.Sprintf("step%d-applicant", step): []string{r.sentence(2)},
			fmt.Sprintf("step%d-reference", step): []string{r.text(digits, 10)}, fmt.Sprintf("step%d-remarks", step): []string{r.sentence(9)},
		}
	}
	p.big = encode("wizard_application_wizard", object{"step": "step7", "step_data": steps, "step_files": object{}, "extra_data": object{}})
	return p
}

// newLaravel returns the session of a PHP framework: the tokens and URLs of Laravel, and the user of CakePHP's Auth.
func newLaravel(n int) person {
	r := random{rand.New(rand.NewPCG(uint64(n), 3))}
	p := person{id: r.text(digits, 6)}
	bcrypt := "$2y$12$" + r.text(base64URL, 53)
	p.profile = encode("Auth", object{
		"_token": r.text(letters+digits, 40), "login_web_59ba36addc2b2f9401580f014c7f58ea4e30989d": p.id, "password_hash_web": bcrypt,
		"User": object{
			"id": p.id, "username": r.text(letters, 9), "role_id": 1 + r.IntN(4), "surname": r.pick(lastNames), "forename": r.pick(firstNames),
			"tel": "+48" + r.text(digits, 9), "created": r.time().Format(time.DateTime), "modified": r.time().Format(time.DateTime),
			"last_ip": fmt.Sprintf("83.%d.%d.%d", r.IntN(256), r.IntN(256), r.IntN(256)), "branch": r.sentence(2),
		},
		"Config": object{"userAgent": r.text(hexDigits, 32), "time": r.time().Unix(), "timeout": 40},
	})
	p.small[0] = encode("_previous", object{"url": "https://panel." + r.text(letters, 7) + ".pl/zamowienia/" + r.text(digits, 6) + "/edycja"})
	p.small[1] = encode("_flash", object{"old": []string{"status"}, "new": []string{}, "status": r.sentence(6)})
	var rows []object
	for range 10 {
		rows = append(rows, object{"zamowienie_id": r.text(digits, 7), "klient": r.sentence(3), "kwota": fmt.Sprintf("%d,%02d", 10+r.IntN(9000), r.IntN(100)), "stan": r.pick([]string{"przyjete", "wyslane", "oplacone"}), "uwagi": r.sentence(8)})
	}
	p.big = encode("Lista", object{"strona": 1, "wiersze": rows})
	return p
}
