library(curl)

url <- commandArgs(trailingOnly = TRUE)[1]

connection <- curl(url, open = "r")
while (length(line <- readLines(connection, n = 1)) > 0) {
  if (startsWith(line, "data: ")) cat(substring(line, 7), "\n", sep = "")
}
