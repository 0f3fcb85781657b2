// Package distapi serves the registry protocol over HTTP: /v2/… as the OCI Distribution Specification 1.1 and the Docker Registry API v2 have it, and the
// token service at /service/token. It turns paths, headers and bodies into calls of registry and access, and their errors into statuses and codes; it
// decides nothing else.
//
// The server in front of it should set http.Server.WriteTimeout to Config.ProgressTimeout and leave ReadTimeout zero: net/http arms the write deadline
// anew for each request, and this package moves both deadlines on for as long as bytes of a body move.
package distapi
