/* The same requests by libcurl, on one handle, with nothing above it.
 *
 *   http URL COUNT [CA.pem [WORD]]     prints seconds of CPU and of the clock
 */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static char body[4096];
static size_t have;

static size_t take(char *bytes, size_t one, size_t count, void *nothing) {
  (void)nothing, (void)one;
  if (have + count > sizeof body) return 0;
  memcpy(body + have, bytes, count);
  have += count;
  return count;
}

static double seconds(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return now.tv_sec + now.tv_nsec / 1e9;
}

/* `word` is what must come, if named: whether the session was resumed. Else 64 bytes. */
static void get(CURL *curl, const char *word) {
  have = 0;
  CURLcode code = curl_easy_perform(curl);
  if (code || (word ? have != strlen(word) || memcmp(body, word, have) : have != 64)) {
    fprintf(stderr, "libcurl: %s, or not the answer\n", curl_easy_strerror(code));
    exit(1);
  }
}

int main(int count, char **words) {
  if (count < 3) return 2;
  const char *ca = count > 3 && *words[3] ? words[3] : NULL, *word = count > 4 ? words[4] : NULL;
  curl_global_init(CURL_GLOBAL_DEFAULT);
  CURL *curl = curl_easy_init();
  curl_easy_setopt(curl, CURLOPT_URL, words[1]);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
  if (ca) curl_easy_setopt(curl, CURLOPT_CAINFO, ca);
  get(curl, word ? "." : NULL);
  double cpu = seconds(CLOCK_PROCESS_CPUTIME_ID), wall = seconds(CLOCK_MONOTONIC);
  for (long i = atol(words[2]); i > 0; i--) get(curl, word);
  printf("%.6f %.6f\n", seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu, seconds(CLOCK_MONOTONIC) - wall);
  return 0;
}
