package config

// SecretFile is a file of the configuration that nobody but Havn should read.
type SecretFile struct{ Key, Path string }

// SecretFiles answers the files that hold secrets: keys of certificates, and what the keys with _file name.
func (c *Config) SecretFiles() []SecretFile {
	var all []SecretFile
	for _, f := range []SecretFile{
		{"http.tls.key", c.HTTP.TLS.Key}, {"database.tls.key", c.Database.TLS.Key}, {"redis.tls.key", c.Redis.TLS.Key}, {"storage.rados.keyring", c.Storage.RADOS.Keyring},
	} {
		if f.Path != "" {
			all = append(all, f)
		}
	}
	for _, k := range keys() {
		if file := c.origins[k.path].file; k.secret && file != "" {
			all = append(all, SecretFile{k.path + fileSuffix, file})
		}
	}
	return all
}
