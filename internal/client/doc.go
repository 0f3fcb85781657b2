// Package client speaks Harbor's REST API with a server, for the command line: who is logged in where, the operations (generated of the API's document), and what people call things instead
// of numbers.
package client
