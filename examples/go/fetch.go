// What the cache is from Go, by cgo: fetches a URL through it, and again.
//
//	PKG_CONFIG_PATH=PREFIX/lib/pkgconfig go build . && LD_LIBRARY_PATH=PREFIX/lib ./fetch URL
//
// Prints a line for each answer: status, cache status, length, and the beginning of the body.
package main

/*
#cgo pkg-config: swrcache
#include <stdlib.h>
#include <swrcache.h>
*/
import "C"

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/textproto"
	"os"
	"runtime"
	"strings"
	"unsafe"
)

// Cache is a cache in the memory of this process. Any goroutines may use it at once.
type Cache struct {
	cache  *C.swrcache_cache
	policy *C.swrcache_policy
}

// Answer is what a client gets.
type Answer struct {
	Status int
	Cache  string
	Header http.Header
	Body   []byte
}

// call runs a call of the library, whose last error is its thread's.
func call(f func() C.int) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if code := f(); code != C.SWRCACHE_OK {
		return fmt.Errorf("%s: %s", C.GoString(C.swrcache_strerror(code)), C.GoString(C.swrcache_last_error()))
	}
	return nil
}

// Open makes a cache of so many bytes.
func Open(size uint64) (*Cache, error) {
	var made Cache
	options := C.swrcache_options{struct_size: C.sizeof_swrcache_options, size: C.size_t(size)}
	if err := call(func() C.int { return C.swrcache_open(&options, &made.cache) }); err != nil {
		return nil, err
	}
	return &made, call(func() C.int { return C.swrcache_policy_new(&made.policy) })
}

// Close frees it.
func (c *Cache) Close() {
	C.swrcache_policy_free(c.policy)
	C.swrcache_close(c.cache)
}

// keep is memory of C's, which structs of C's may point to, until it is freed.
type keep []unsafe.Pointer

func (k *keep) text(s string) *C.char {
	text := C.CString(s)
	*k = append(*k, unsafe.Pointer(text))
	return text
}

func (k *keep) fields(header http.Header) (*C.swrcache_field, C.size_t) {
	var lines []C.swrcache_field
	for name, values := range header {
		for _, value := range values {
			lines = append(lines, C.swrcache_field{
				name: k.text(name), name_len: C.size_t(len(name)),
				value: k.text(value), value_len: C.size_t(len(value)),
			})
		}
	}
	if len(lines) == 0 {
		return nil, 0
	}
	room := C.malloc(C.size_t(len(lines)) * C.sizeof_swrcache_field)
	*k = append(*k, room)
	copy(unsafe.Slice((*C.swrcache_field)(room), len(lines)), lines)
	return (*C.swrcache_field)(room), C.size_t(len(lines))
}

func (k keep) free() {
	for _, pointer := range k {
		C.free(pointer)
	}
}

// Get answers a URL out of the cache, or from its origin.
func (c *Cache) Get(url string) (*Answer, error) {
	var kept keep
	defer kept.free()
	request := C.swrcache_request{struct_size: C.sizeof_swrcache_request, key_len: C.size_t(len(url))}
	request.method, request.key = kept.text("GET"), kept.text(url)
	decision := C.swrcache_decision{struct_size: C.sizeof_swrcache_decision}
	if err := call(func() C.int { return C.swrcache_lookup_wait(c.cache, c.policy, &request, &decision) }); err != nil {
		return nil, err
	}
	defer C.swrcache_fetch_free(decision.fetch) // a refresh that a server would carry out in the background
	if decision.reply != nil {
		return read(decision.reply)
	}
	response, err := http.Get(url)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if decision.fetch != nil {
		return fill(decision.fetch, response)
	}
	body, err := io.ReadAll(response.Body)
	return &Answer{response.StatusCode, "", response.Header, body}, err
}

// fill lets the cache have the origin's answer, and gives back what the client gets.
func fill(fetch *C.swrcache_fetch, from *http.Response) (*Answer, error) {
	var kept keep
	defer kept.free()
	var todo C.int
	head := C.swrcache_response{struct_size: C.sizeof_swrcache_response, status: C.int(from.StatusCode)}
	head.fields, head.field_count = kept.fields(from.Header)
	if err := call(func() C.int { return C.swrcache_fetch_respond(fetch, &head, &todo) }); err != nil {
		return nil, err
	}
	piece := make([]byte, 1<<16)
	for todo == C.SWRCACHE_DO_STORE {
		n, end := from.Body.Read(piece)
		if n > 0 && C.swrcache_fetch_write(fetch, (*C.char)(unsafe.Pointer(&piece[0])), C.size_t(n)) != C.SWRCACHE_OK {
			// It has outgrown the cache: what that has taken, and the rest.
			C.swrcache_fetch_finish(fetch, &todo)
			answer, err := reply(fetch)
			if err != nil {
				return nil, err
			}
			rest, err := io.ReadAll(from.Body)
			answer.Body = append(append(answer.Body, piece[:n]...), rest...)
			return answer, err
		}
		if end == io.EOF {
			C.swrcache_fetch_finish(fetch, &todo)
		} else if end != nil {
			C.swrcache_fetch_fail(fetch, C.SWRCACHE_FAIL_ERROR, 0, &todo)
		}
	}
	if todo == C.SWRCACHE_DO_REPLY {
		return reply(fetch)
	}
	body, err := io.ReadAll(from.Body)
	return &Answer{from.StatusCode, "", from.Header, body}, err
}

func reply(fetch *C.swrcache_fetch) (*Answer, error) {
	var made *C.swrcache_reply
	if err := call(func() C.int { return C.swrcache_fetch_reply(fetch, &made) }); err != nil {
		return nil, err
	}
	return read(made)
}

// read reads a reply, and frees it.
func read(reply *C.swrcache_reply) (*Answer, error) {
	defer C.swrcache_reply_free(reply)
	head := C.swrcache_head{struct_size: C.sizeof_swrcache_head}
	if err := call(func() C.int { return C.swrcache_reply_head(reply, &head) }); err != nil {
		return nil, err
	}
	answer := &Answer{Status: int(head.status), Cache: C.GoString(C.swrcache_status_name(head.cache_status))}
	var needed C.size_t
	C.swrcache_reply_head_text(reply, nil, 0, &needed)
	text := make([]byte, needed)
	if err := call(func() C.int {
		return C.swrcache_reply_head_text(reply, (*C.char)(unsafe.Pointer(&text[0])), needed, nil)
	}); err != nil {
		return nil, err
	}
	lines := bufio.NewReader(strings.NewReader(string(text[:needed-1]) + "\r\n"))
	header, err := textproto.NewReader(lines).ReadMIMEHeader()
	answer.Header = http.Header(header)
	for err == nil {
		var pieces [16]C.struct_iovec
		var count C.size_t
		var code C.int
		err = call(func() C.int {
			code = C.swrcache_reply_read_wait(reply, 60000, &pieces[0], 16, &count)
			if code == C.SWRCACHE_EOUTGROWN {
				return C.SWRCACHE_OK
			}
			return code
		})
		if count == 0 {
			break
		}
		for _, piece := range pieces[:count] {
			answer.Body = append(answer.Body, C.GoBytes(piece.iov_base, C.int(piece.iov_len))...)
		}
	}
	return answer, err
}

func main() {
	cache, err := Open(64 << 20)
	if err != nil {
		log.Fatal(err)
	}
	defer cache.Close()
	for i := 0; i < 2; i++ {
		answer, err := cache.Get(os.Args[1])
		if err != nil {
			log.Fatal(err)
		}
		beginning := answer.Body
		if len(beginning) > 20 {
			beginning = beginning[:20]
		}
		fmt.Println(answer.Status, answer.Cache, len(answer.Body), string(beginning))
	}
}
