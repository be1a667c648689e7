/* An allocator that says no, to be preloaded: it stands before malloc and its kin and refuses.
 *
 *   REFUSE=N        the N-th allocation (from 1); 0 refuses none and says at the end how many there were
 *   REFUSE_EACH=1   each N-th one
 *   REFUSE_FROM=B   only allocations of B bytes and more count
 *
 * What it refused first, and how many there were, is one line on standard error. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *(*real_malloc)(size_t), *(*real_calloc)(size_t, size_t), *(*real_realloc)(void *, size_t);
static int (*real_posix_memalign)(void **, size_t, size_t);
static void *(*real_aligned_alloc)(size_t, size_t);
static atomic_long count, refused;
static long nth = -1, each, from;
static pid_t own;

/* dlsym itself may ask for memory: from here, and it is never given back. */
static char early[65536];
static size_t early_used;
static int finding;

static void find(void) {
  if (real_malloc || finding) return;
  finding = 1;
  real_calloc = dlsym(RTLD_NEXT, "calloc");
  real_realloc = dlsym(RTLD_NEXT, "realloc");
  real_posix_memalign = dlsym(RTLD_NEXT, "posix_memalign");
  real_aligned_alloc = dlsym(RTLD_NEXT, "aligned_alloc");
  const char *text = getenv("REFUSE");
  nth = text ? atol(text) : -1;
  text = getenv("REFUSE_EACH");
  each = text && *text == '1';
  text = getenv("REFUSE_FROM");
  from = text ? atol(text) : 1;
  own = getpid();
  real_malloc = dlsym(RTLD_NEXT, "malloc");
  finding = 0;
}

static void *first(size_t size) {
  size_t at = (early_used + 15) & ~(size_t)15;
  if (at + size > sizeof early) abort();
  early_used = at + size;
  return early + at;
}

static void say(const char *what, long number, size_t size) {
  char line[96];
  int length = snprintf(line, sizeof line, "refuse: %s %ld, %zu bytes\n", what, number, size);
  ssize_t done = write(2, line, length);
  (void)done;
}

static int refuses(size_t size) {
  if (nth < 0 || (long)size < from) return 0;
  long number = atomic_fetch_add(&count, 1) + 1;
  if (nth == 0 || (each ? number % nth != 0 : number != nth)) return 0;
  if (atomic_fetch_add(&refused, 1) == 0) say("number", number, size);
  errno = ENOMEM;
  return 1;
}

void *malloc(size_t size) {
  find();
  if (!real_malloc) return first(size);
  return refuses(size) ? NULL : real_malloc(size);
}

void *calloc(size_t n, size_t size) {
  find();
  if (!real_malloc) return memset(first(n * size), 0, n * size);
  return refuses(n * size) ? NULL : real_calloc(n, size);
}

void *realloc(void *block, size_t size) {
  find();
  if ((char *)block >= early && (char *)block < early + sizeof early) {
    void *made = malloc(size);
    size_t most = early + sizeof early - (char *)block;
    return made ? memcpy(made, block, size < most ? size : most) : NULL;
  }
  /* To shrink never fails. */
  return size > 0 && refuses(size) ? NULL : real_realloc(block, size);
}

int posix_memalign(void **into, size_t align, size_t size) {
  find();
  return refuses(size) ? ENOMEM : real_posix_memalign(into, align, size);
}

void *aligned_alloc(size_t align, size_t size) {
  find();
  return refuses(size) ? NULL : real_aligned_alloc(align, size);
}

void free(void *block) {
  static void (*real_free)(void *);
  if ((char *)block >= early && (char *)block < early + sizeof early) return;
  if (!real_free) real_free = dlsym(RTLD_NEXT, "free");
  real_free(block);
}

__attribute__((destructor)) static void end(void) {
  if (nth == 0 && getpid() == own) say("counted", atomic_load(&count), 0);
}
