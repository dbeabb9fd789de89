// Package workswith tests that routers, frameworks and AWS Lambda work with the middleware as it is, without an adapter. README.md's
// table "Works with" names its tests.
package workswith
