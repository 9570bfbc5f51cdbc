#!/bin/bash
url=$1

curl -sN "$url" | sed -un 's/^data: //p'
