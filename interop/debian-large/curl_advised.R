library(curl)

url <- commandArgs(trailingOnly = TRUE)[1]

# Calls `handle` with the data of every event once, over any number of connections, until the topic ends.
subscribe <- function(url, handle) {
  id <- ""
  repeat {
    text <- ""
    receive <- function(bytes) {
      text <<- paste0(text, rawToChar(bytes))
      blocks <- strsplit(text, "\n\n", fixed = TRUE)[[1]]
      if (!endsWith(text, "\n\n")) {
        text <<- blocks[length(blocks)]
        blocks <- blocks[-length(blocks)]
      } else {
        text <<- ""
      }
      for (block in blocks) {
        lines <- strsplit(block, "\n", fixed = TRUE)[[1]]
        data <- substring(lines[startsWith(lines, "data: ")], 7)
        if (length(data) > 0) {
          id <<- substring(lines[startsWith(lines, "id: ")], 5)
          handle(paste(data, collapse = "\n"))
        }
      }
      length(bytes)
    }
    request <- new_handle(failonerror = TRUE, low_speed_limit = 1, low_speed_time = 45)
    handle_setheaders(request, "Last-Event-ID" = id)
    try(curl_fetch_stream(url, receive, handle = request), silent = TRUE)
    status <- handle_data(request)$status_code
    if (status == 204) break
    if (status >= 400 && status < 500 && status != 429) stop("status ", status)
    Sys.sleep(2)
  }
}

subscribe(url, function(data) cat(data, "\n", sep = ""))
