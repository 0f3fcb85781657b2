// Package s3 keeps objects in a bucket behind the S3 API: Amazon's, Ceph's radosgw, MinIO and the like, and those of Google (GCS) and Alibaba (OSS) in
// their S3-compatible form.
//
// An object that fits into one part is written by one request. A longer one is a multipart upload, which comes to be at its last request, whole or not
// at all. Parts wait in package parts until they are sent, so that each can be sent again: a gateway that restarts costs a pause, not a push.
package s3
