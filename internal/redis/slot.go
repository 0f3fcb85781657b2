package redis

import (
	"strconv"
	"strings"
)

// slots is the number of hash slots of every cluster.
const slots = 16384

// slotOf answers the slot of a key: the CRC16 (XMODEM) of what stands between its first braces, or of all of it.
func slotOf(key string) int {
	if _, after, ok := strings.Cut(key, "{"); ok {
		if tag, _, closed := strings.Cut(after, "}"); closed && tag != "" {
			key = tag
		}
	}
	var crc uint16
	for i := range len(key) {
		crc ^= uint16(key[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return int(crc) % slots
}

// keysAt answers a key with the prefix for each of some slots.
func keysAt(prefix string, wanted map[int]bool) map[int]string {
	found := make(map[int]string, len(wanted))
	for i := 0; len(found) < len(wanted); i++ {
		tag := strconv.Itoa(i)
		if s := slotOf(tag); wanted[s] && found[s] == "" {
			found[s] = prefix + "probe:{" + tag + "}"
		}
	}
	return found
}
